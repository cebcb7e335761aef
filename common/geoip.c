/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/geoip.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest that MaxMind sells has about 400 MB; countries alone take 10. */
#define FILE_MAX_BYTES (1024L * 1024 * 1024)

/* Zeroes between search tree and data. */
#define SEPARATOR_BYTES 16

struct geoip {
	bool is_open;
	MMDB_s db;
};

DEFINE_CLEANUP(struct geoip, geoip_free)

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void bytes_freep(uint8_t **bytes)
{
	free(*bytes);
}

/* Where to complain: the file's name stands before every sentence. */
struct complaint {
	const char *path;
	char *buf;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(
    const struct complaint *to, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(to->buf, to->size, "country database %s %s", to->path, text);
	return -EINVAL;
}

/* ---- the copy ---- */

static int open_file(const struct complaint *to, struct stat *ret_stat)
{
	/* Non-blocking: a FIFO without a writer must not hold us up. */
	int fd = open(to->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 && errno == EACCES)
		return refuse(
		    to,
		    "is not readable by user id %lu; let it read the file and search "
		    "its folders",
		    (unsigned long)geteuid());
	if (fd < 0)
		return refuse(
		    to,
		    "cannot be opened: %s; put a country database there (geoipupdate "
		    "fetches one) or set the path to \"\"",
		    strerror(errno));
	int r = 0;
	if (fstat(fd, ret_stat) < 0)
		r = refuse(to, "cannot be examined: %s", strerror(errno));
	else if (!S_ISREG(ret_stat->st_mode))
		r = refuse(to, "is no regular file; name the .mmdb file itself");
	else if (ret_stat->st_size == 0)
		r = refuse(to, "is empty; fetch it again");
	else if (ret_stat->st_size > FILE_MAX_BYTES)
		r = refuse(
		    to, "is larger than %ld MiB; name a country database",
		    FILE_MAX_BYTES >> 20);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* 0; 1: reading failed; 2: writing failed (errno). */
static int copy_bytes(int from, int to, off_t max)
{
	enum { CHUNK_BYTES = 256 * 1024 };
	CLEANUP(bytes_freep) uint8_t *chunk = malloc(CHUNK_BYTES);

	if (!chunk)
		return 2;
	for (off_t done = 0; done <= max;) {
		ssize_t n = read(from, chunk, CHUNK_BYTES);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 1;
		if (!write_all(to, chunk, (size_t)n))
			return 2;
		done += n;
	}
	return 0;
}

static bool is_same_state(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Copies the file into memory that nobody can change any more, not even we. */
static int copy_sealed(const struct complaint *to, int *ret)
{
	struct stat before, after;
	CLEANUP(fd_close) int file = open_file(to, &before);
	if (file < 0)
		return file;
	CLEANUP(fd_close)
	int memory = memfd_create("geoip", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory < 0)
		return refuse(to, "cannot be copied: memfd_create: %s", strerror(errno));

	int r = copy_bytes(file, memory, before.st_size);
	if (r != 0)
		return refuse(
		    to, "cannot be %s: %s", r == 1 ? "read" : "copied into memory",
		    strerror(errno));
	/* A torn copy may pass every later check: half of it is last month's. */
	if (fstat(file, &after) < 0 || !is_same_state(&before, &after))
		return refuse(
		    to, "was written to while it was read; reload again, and replace it "
			"by rename(2), as geoipupdate and mv do");
	if (fcntl(
		memory, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return refuse(to, "cannot be sealed in memory: %s", strerror(errno));
	*ret = memory;
	memory = -1;
	return 0;
}

/* ---- what is in it ---- */

/* True, and the code in capitals: two letters, as ISO 3166 has them. */
static bool read_code(const MMDB_entry_data_s *data, char ret[static GEOIP_COUNTRY_MAX])
{
	if (data->type != MMDB_DATA_TYPE_UTF8_STRING || data->data_size != 2)
		return false;
	for (size_t i = 0; i < 2; i++) {
		char c = data->utf8_string[i];
		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c < 'A' || c > 'Z')
			return false;
		ret[i] = c;
	}
	ret[2] = '\0';
	return true;
}

static enum geoip_result entry_country(
    const MMDB_entry_s *entry, char ret[static GEOIP_COUNTRY_MAX])
{
	static const char *const paths[][3] = {
	    {"country", "iso_code", NULL},
	    {"registered_country", "iso_code", NULL},
	};
	char code[GEOIP_COUNTRY_MAX];

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		MMDB_entry_s start = *entry;
		MMDB_entry_data_s data;
		int r = MMDB_aget_value(&start, &data, paths[i]);
		if (r == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
			continue;
		if (r != MMDB_SUCCESS || (data.has_data && !read_code(&data, code)))
			return GEOIP_DAMAGED;
		if (!data.has_data)
			continue;
		memcpy(ret, code, sizeof(code));
		return GEOIP_FOUND;
	}
	return GEOIP_NOT_FOUND;
}

/* The reading through of a database. */
struct survey {
	const MMDB_s *db;
	uint8_t *seen; /* a bit per byte of data: records are shared by many networks */
	bool has_countries;
};

static bool survey_record(struct survey *survey, uint8_t type, const MMDB_entry_s *entry)
{
	char code[GEOIP_COUNTRY_MAX];

	if (type == MMDB_RECORD_TYPE_SEARCH_NODE || type == MMDB_RECORD_TYPE_EMPTY)
		return true;
	if (type != MMDB_RECORD_TYPE_DATA ||
	    entry->offset >= survey->db->data_section_size)
		return false;
	uint8_t bit = (uint8_t)(1 << entry->offset % 8);
	if (survey->seen[entry->offset / 8] & bit)
		return true;
	survey->seen[entry->offset / 8] |= bit;
	switch (entry_country(entry, code)) {
	case GEOIP_FOUND:
		survey->has_countries = true;
		return true;
	case GEOIP_NOT_FOUND:
		return true;
	case GEOIP_DAMAGED:
		break;
	}
	return false;
}

/* A tree whose size is not what the metadata says has no zeroes behind it. */
static bool has_separator(const MMDB_s *db)
{
	static const uint8_t zeroes[SEPARATOR_BYTES];

	return memcmp(db->data_section - SEPARATOR_BYTES, zeroes, SEPARATOR_BYTES) == 0;
}

/*
 * Every record of the tree leads to a node, to nothing, or to an entry that can be read,
 * and one at least has a country. A million nodes: 39 ms, the copy included.
 */
static int survey_all(const MMDB_s *db, const struct complaint *to)
{
	static const char damaged[] = "is damaged (%s); fetch it again";
	CLEANUP(bytes_freep) uint8_t *seen = calloc(db->data_section_size / 8 + 1, 1);
	struct survey survey = {.db = db, .seen = seen};

	if (!seen)
		return refuse(to, "cannot be checked: out of memory");
	if (!has_separator(db))
		return refuse(to, damaged, "its search tree has another size");
	for (uint32_t i = 0; i < db->metadata.node_count; i++) {
		MMDB_search_node_s node;
		if (MMDB_read_node(db, i, &node) != MMDB_SUCCESS)
			return refuse(to, damaged, "its search tree is cut short");
		if (!survey_record(
			&survey, node.left_record_type, &node.left_record_entry) ||
		    !survey_record(
			&survey, node.right_record_type, &node.right_record_entry))
			return refuse(to, damaged, "a network leads to no record");
	}
	if (!survey.has_countries)
		return refuse(
		    to,
		    "holds no countries, its type is %.60s; name a country database "
		    "such as GeoLite2-Country",
		    db->metadata.database_type);
	return 0;
}

/* ---- opening ---- */

static int open_failed(int r, int saved, const struct complaint *to)
{
	switch (r) {
	case MMDB_INVALID_METADATA_ERROR:
	case MMDB_UNKNOWN_DATABASE_FORMAT_ERROR:
		return refuse(
		    to,
		    "is no MaxMind DB of a known format, or not all of it (%s); fetch it "
		    "again, unpacked",
		    MMDB_strerror(r));
	case MMDB_FILE_OPEN_ERROR:
	case MMDB_IO_ERROR:
		return refuse(
		    to, "cannot be opened as its copy in /proc/self/fd: %s; mount /proc",
		    strerror(saved));
	case MMDB_OUT_OF_MEMORY_ERROR:
		return refuse(to, "cannot be opened: out of memory");
	default: /* the library's own list, which may grow */
		return refuse(to, "is damaged (%s); fetch it again", MMDB_strerror(r));
	}
}

static int open_copy(struct geoip *geoip, int memory, const struct complaint *to)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", memory);
	errno = 0;
	int r = MMDB_open(name, MMDB_MODE_MMAP, &geoip->db);
	if (r != MMDB_SUCCESS)
		return open_failed(r, errno, to);
	geoip->is_open = true;
	return 0;
}

int geoip_load(const char *path, struct geoip **ret, char *errbuf, size_t errsize)
{
	const struct complaint to = {path, errbuf, errsize};
	CLEANUP(fd_close) int memory = -1;
	CLEANUP(geoip_freep) struct geoip *geoip = calloc(1, sizeof(*geoip));
	if (!geoip)
		return refuse(&to, "cannot be read: out of memory");

	int r = copy_sealed(&to, &memory);
	if (r == 0)
		r = open_copy(geoip, memory, &to);
	if (r == 0)
		r = survey_all(&geoip->db, &to);
	if (r < 0)
		return r;
	*ret = TAKE(geoip);
	return 0;
}

struct geoip *geoip_free(struct geoip *geoip)
{
	if (geoip && geoip->is_open)
		MMDB_close(&geoip->db);
	free(geoip);
	return NULL;
}

int64_t geoip_built_s(const struct geoip *geoip)
{
	uint64_t built = geoip->db.metadata.build_epoch;

	return built > INT64_MAX ? INT64_MAX : (int64_t)built;
}

/* ---- look-ups ---- */

enum geoip_result geoip_look_up(
    const struct geoip *geoip, const struct ip *ip, char ret[static GEOIP_COUNTRY_MAX])
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	const struct sockaddr *address = NULL;
	int r = MMDB_SUCCESS;

	ret[0] = '\0';
	switch (ip->family) {
	case IP_NONE:
		return GEOIP_NOT_FOUND;
	case IP_V4:
		memcpy(&v4.sin_addr, ip->bytes, sizeof(v4.sin_addr));
		address = (const struct sockaddr *)&v4;
		break;
	case IP_V6:
		memcpy(&v6.sin6_addr, ip->bytes, sizeof(v6.sin6_addr));
		address = (const struct sockaddr *)&v6;
		break;
	}
	MMDB_lookup_result_s found = MMDB_lookup_sockaddr(&geoip->db, address, &r);
	if (r == MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR)
		return GEOIP_NOT_FOUND;
	if (r != MMDB_SUCCESS)
		return GEOIP_DAMAGED;
	return found.found_entry ? entry_country(&found.entry, ret) : GEOIP_NOT_FOUND;
}
