/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs in the folder with the databases that tests/meson.build has made. */
#include "common/geoip.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BUILT_S 1767600000

static char dir[] = "/tmp/postern-geoip-XXXXXX";

static char *in_dir(const char *name)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* A new file each time: ext4 writes out at once what was truncated and closed. */
static void write_file(const char *path, const void *bytes, size_t len)
{
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static uint8_t *read_file(const char *path, size_t *ret_len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	assert_int_equal(fstat(fd, &st), 0);
	uint8_t *bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return bytes;
}

static struct geoip *load(const char *path)
{
	char err[1024] = "";
	struct geoip *geoip = NULL;
	if (geoip_load(path, &geoip, err, sizeof(err)) != 0)
		fail_msg("%s: %s", path, err);
	return geoip;
}

static int make_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	write_file(in_dir("empty"), "", 0);
	write_file(in_dir("text"), "Country,Code\nGermany,DE\n", 24);
	write_file(in_dir("packed"), "\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
	write_file(in_dir("closed"), "x", 1);
	assert_int_equal(chmod(in_dir("closed"), 0), 0);
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(symlink("nowhere", in_dir("dangling")), 0);
	write_file(in_dir("large"), "x", 1);
	assert_int_equal(truncate(in_dir("large"), 1L << 31), 0);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	char command[PATH_MAX];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? 0 : -1;
}

/* ---- look-ups ---- */

static const struct {
	const char *why;
	const char *file;
	const char *address;
	enum geoip_result result;
	const char *country;
} look_ups[] = {
    {"a network of IPv4", "country.mmdb", "8.8.8.8", GEOIP_FOUND, "US"},
    {"its first address", "country.mmdb", "8.8.8.0", GEOIP_FOUND, "US"},
    {"its last address", "country.mmdb", "8.8.8.255", GEOIP_FOUND, "US"},
    {"one behind it", "country.mmdb", "8.8.9.0", GEOIP_NOT_FOUND, ""},
    {"one before it", "country.mmdb", "8.8.7.255", GEOIP_NOT_FOUND, ""},
    {"a wide network", "country.mmdb", "91.63.255.255", GEOIP_FOUND, "DE"},
    {"a narrower one inside, its code in small letters", "country.mmdb", "91.20.1.1",
     GEOIP_FOUND, "FR"},
    {"mapped into IPv6, and no alias in the tree", "country.mmdb", "::ffff:8.8.8.8",
     GEOIP_FOUND, "US"},
    {"mapped, in hexadecimal", "country.mmdb", "::ffff:4d58:101", GEOIP_FOUND, "RU"},
    {"only the registration is known", "country.mmdb", "62.46.1.1", GEOIP_FOUND, "AT"},
    {"a record without a country", "country.mmdb", "64.1.1.1", GEOIP_NOT_FOUND, ""},
    {"a network of IPv6", "country.mmdb", "2a02:6b8::1", GEOIP_FOUND, "RU"},
    {"a wide one", "country.mmdb", "2003:1fff::1", GEOIP_FOUND, "DE"},
    {"not there", "country.mmdb", "2a02:6b9::1", GEOIP_NOT_FOUND, ""},
    {"no address at all", "country.mmdb", "unknown", GEOIP_NOT_FOUND, ""},
    {"records of 28 bits", "record28.mmdb", "91.20.1.1", GEOIP_FOUND, "FR"},
    {"28 bits, IPv6", "record28.mmdb", "2003::1", GEOIP_FOUND, "DE"},
    {"records of 32 bits", "record32.mmdb", "62.46.1.1", GEOIP_FOUND, "AT"},
    {"32 bits, IPv6", "record32.mmdb", "2001:db8:1::1", GEOIP_FOUND, "US"},
    {"a tree of IPv4 alone", "v4only.mmdb", "77.88.1.1", GEOIP_FOUND, "RU"},
    {"which lacks every IPv6", "v4only.mmdb", "2003::1", GEOIP_NOT_FOUND, ""},
    {"beside a loop", "loop.mmdb", "8.8.8.8", GEOIP_FOUND, "US"},
    {"around in a loop", "loop.mmdb", "1.0.0.0", GEOIP_DAMAGED, ""},
};

static void test_look_ups(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(look_ups) / sizeof(*look_ups); i++) {
		struct geoip *geoip = load(look_ups[i].file);
		const char *address = look_ups[i].address;
		char country[GEOIP_COUNTRY_MAX] = "xx";
		struct ip ip;
		ip_parse(address, strlen(address), &ip);
		enum geoip_result result = geoip_look_up(geoip, &ip, country);
		if (result != look_ups[i].result ||
		    strcmp(country, look_ups[i].country) != 0)
			fail_msg(
			    "%s: %s in %s is %d \"%s\"", look_ups[i].why, address,
			    look_ups[i].file, result, country);
		assert_int_equal(geoip_built_s(geoip), BUILT_S);
		geoip_free(geoip);
	}
}

/* ---- what is refused ---- */

static const struct {
	const char *why;
	const char *path; /* one without a slash and dot is in the private folder */
	const char *want;
} refusals[] = {
    {"missing", "missing", "cannot be opened: No such file"},
    {"a link to nothing", "dangling", "cannot be opened: No such file"},
    {"a folder", "/tmp", "is no regular file"},
    {"a device", "/dev/zero", "is no regular file"},
    {"a FIFO does not block", "fifo", "is no regular file"},
    {"empty", "empty", "is empty"},
    {"text", "text", "is no MaxMind DB"},
    {"still packed", "packed", "unpacked"},
    {"larger than any", "large", "is larger than"},
    {"a database of another kind", "asn.mmdb", "no countries, its type is GeoLite2-ASN"},
    {"a format of the future", "future.mmdb", "of a known format"},
    {"a country of three letters", "badcode.mmdb", "is damaged"},
};

static void check_refusal(const char *why, const char *path, const char *want)
{
	char err[1024] = "";
	struct geoip *geoip = NULL;
	if (geoip_load(path, &geoip, err, sizeof(err)) != -EINVAL || geoip)
		fail_msg("%s: loaded", why);
	if (!strstr(err, want) || !strstr(err, path))
		fail_msg("%s: says: %s", why, err);
	if (strchr(err, '\n') || !strchr(err, ';'))
		fail_msg("%s: not one line with a remedy: %s", why, err);
}

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		const char *path = refusals[i].path;
		check_refusal(
		    refusals[i].why, strpbrk(path, "/.") ? path : in_dir(path),
		    refusals[i].want);
	}
}

static void test_not_readable(void **state)
{
	(void)state;
	if (geteuid() == 0) {
		assert_int_equal(chmod(dir, 0755), 0);
		assert_int_equal(seteuid(65533), 0);
	}
	char err[1024] = "", want[64];
	struct geoip *geoip = NULL;
	int r = geoip_load(in_dir("closed"), &geoip, err, sizeof(err));
	snprintf(want, sizeof(want), "not readable by user id %u", (unsigned)geteuid());
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, -EINVAL);
	assert_non_null(strstr(err, want));
}

/* A download that stopped half-way, wherever it stopped. */
static void test_cut_short(void **state)
{
	(void)state;
	size_t len;
	uint8_t *bytes = read_file("country.mmdb", &len);
	char *path = in_dir("cut");
	for (size_t cut = 0; cut < len; cut++) {
		char why[64];
		snprintf(why, sizeof(why), "cut to %zu of %zu", cut, len);
		write_file(path, bytes, cut);
		check_refusal(why, path, "country database");
	}
	free(bytes);
}

/* ---- what happens to the file afterwards ---- */

static void expect_country(
    const struct geoip *geoip, const char *address, const char *want)
{
	char country[GEOIP_COUNTRY_MAX];
	struct ip ip;
	assert_true(ip_parse(address, strlen(address), &ip));
	geoip_look_up(geoip, &ip, country);
	assert_string_equal(country, want);
}

static void test_file_changes(void **state)
{
	(void)state;
	size_t len, other_len;
	uint8_t *bytes = read_file("country.mmdb", &len);
	uint8_t *other = read_file("loop.mmdb", &other_len);
	char *path = in_dir("changing");
	write_file(path, bytes, len);
	struct geoip *geoip = load(path);
	expect_country(geoip, "91.1.1.1", "DE");

	int fd = open(path, O_WRONLY | O_CLOEXEC);
	memset(bytes, 0xff, len);
	assert_int_equal(pwrite(fd, bytes, len, 0), (ssize_t)len);
	expect_country(geoip, "91.1.1.1", "DE");
	assert_int_equal(ftruncate(fd, 0), 0);
	expect_country(geoip, "91.1.1.1", "DE");
	expect_country(geoip, "2a02:6b8::1", "RU");
	close(fd);
	check_refusal("what is there now", path, "is empty");

	/* A new load sees the new file, the old object the old one. */
	write_file(path, other, other_len);
	struct geoip *anew = load(path);
	expect_country(anew, "91.1.1.1", "");
	expect_country(anew, "8.8.8.8", "US");
	expect_country(geoip, "91.1.1.1", "DE");
	unlink(path);
	expect_country(geoip, "91.1.1.1", "DE");
	geoip_free(geoip);
	geoip_free(anew);
	free(bytes);
	free(other);
}

static size_t count_descriptors(void)
{
	size_t count = 0;
	DIR *folder = opendir("/proc/self/fd");
	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

/* Lines of this process's maps that show a copy; all must be read-only. */
static size_t count_copies(void)
{
	char line[PATH_MAX + 200];
	size_t count = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "memfd:geoip"))
			continue;
		assert_non_null(strstr(line, " r--"));
		count++;
	}
	fclose(maps);
	return count;
}

static void test_leaves_nothing(void **state)
{
	(void)state;
	size_t descriptors = count_descriptors();
	struct geoip *geoip = load("country.mmdb");
	assert_int_equal(count_descriptors(), descriptors);
	assert_int_equal(count_copies(), 1);
	geoip_free(geoip);
	assert_int_equal(count_copies(), 0);
	assert_null(geoip_free(NULL));
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		char err[1024];
		const char *path = refusals[i].path;
		struct geoip *none = NULL;
		geoip_load(
		    strpbrk(path, "/.") ? path : in_dir(path), &none, err, sizeof(err));
	}
	assert_int_equal(count_descriptors(), descriptors);
	assert_int_equal(count_copies(), 0);
}

/* ---- bit flips ---- */

static uint64_t random_state = 20260105;

static size_t random_below(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (size_t)(random_state % n);
}

/* Every look-up has a documented end, and a code is two capitals. */
static void look_around(const struct geoip *geoip, unsigned results[static 3])
{
	for (size_t i = 0; i < sizeof(look_ups) / sizeof(*look_ups); i++) {
		char code[GEOIP_COUNTRY_MAX] = "xx";
		struct ip ip;
		ip_parse(look_ups[i].address, strlen(look_ups[i].address), &ip);
		enum geoip_result result = geoip_look_up(geoip, &ip, code);
		assert_in_range(result, GEOIP_FOUND, GEOIP_DAMAGED);
		results[result]++;
		if (result != GEOIP_FOUND)
			assert_string_equal(code, "");
		else if (
		    code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' ||
		    code[2] != '\0')
			fail_msg("the country %02x%02x", code[0], code[1]);
	}
}

static void test_bit_flips(void **state)
{
	(void)state;
	enum { VARIANTS = 5000 };
	unsigned loaded = 0, refused = 0, results[3] = {0};
	size_t len;
	uint8_t *bytes = read_file("country.mmdb", &len);
	uint8_t *damaged = malloc(len);
	char *path = in_dir("flipped");

	for (unsigned i = 0; i < VARIANTS; i++) {
		char err[1024] = "";
		struct geoip *geoip = NULL;
		memcpy(damaged, bytes, len);
		for (size_t n = 1 + i % 4; n > 0; n--)
			damaged[random_below(len)] ^= (uint8_t)(1 << random_below(8));
		write_file(path, damaged, len);
		if (geoip_load(path, &geoip, err, sizeof(err)) == 0) {
			look_around(geoip, results);
			loaded++;
		} else {
			assert_null(geoip);
			assert_non_null(strstr(err, path));
			assert_null(strchr(err, '\n'));
			refused++;
		}
		geoip_free(geoip);
	}
	/* Both ways out were taken, else this test looked at nothing. */
	assert_true(loaded > 100 && refused > 100);
	assert_true(results[GEOIP_FOUND] > 100 && results[GEOIP_NOT_FOUND] > 100);
	print_message(
	    "%u refused, %u loaded; look-ups: %u found, %u not, %u damaged\n", refused,
	    loaded, results[GEOIP_FOUND], results[GEOIP_NOT_FOUND],
	    results[GEOIP_DAMAGED]);
	free(bytes);
	free(damaged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_look_ups),     cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_not_readable), cmocka_unit_test(test_cut_short),
	    cmocka_unit_test(test_file_changes), cmocka_unit_test(test_leaves_nothing),
	    cmocka_unit_test(test_bit_flips),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
