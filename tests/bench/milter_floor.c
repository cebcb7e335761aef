/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor under a milter that signs: libmilter, one canonical body hash, one signature
 * with a key that was parsed at the start, one header inserted. The header is no valid
 * DKIM signature, because no header is hashed; whatever Postern does more, it does on top
 * of this.
 *
 *	milter_floor PATH KEY.pem [every]	(a unix socket; runs until it is killed)
 *
 * Only the events that a signer cannot do without are asked for; with "every" all that
 * there are, with all their macros. No event but the last is answered either way.
 */
#include "milter/body.h"

#include <libmilter/mfapi.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFT_OUT                                                                         \
	(SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NORCPT | SMFIP_NODATA | SMFIP_NOUNKNOWN)
#define NOT_ANSWERED                                                                     \
	(SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_DATA | \
	 SMFIP_NR_UNKN | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY)

struct message {
	struct body body;
	EVP_MD_CTX *hash;
};

static EVP_PKEY *key;
static bool every;

static int take(void *context, const unsigned char *bytes, size_t len)
{
	struct message *message = context;
	EVP_DigestUpdate(message->hash, bytes, len);
	return 0;
}

static struct message *find(SMFICTX *ctx)
{
	struct message *message = smfi_getpriv(ctx);
	if (message)
		return message;
	message = malloc(sizeof(*message));
	if (!message)
		abort();
	message->hash = EVP_MD_CTX_new();
	EVP_DigestInit_ex(message->hash, EVP_sha256(), NULL);
	body_init(&message->body, CANON_RELAXED, take, message);
	smfi_setpriv(ctx, message);
	return message;
}

static void drop(SMFICTX *ctx)
{
	struct message *message = smfi_getpriv(ctx);
	if (!message)
		return;
	EVP_MD_CTX_free(message->hash);
	free(message);
	smfi_setpriv(ctx, NULL);
}

static sfsistat on_negotiate(
    SMFICTX *ctx, unsigned long actions, unsigned long steps, unsigned long f2,
    unsigned long f3, unsigned long *ret_actions, unsigned long *ret_steps,
    unsigned long *ret_f2, unsigned long *ret_f3)
{
	(void)ctx;
	(void)actions;
	(void)f2;
	(void)f3;
	*ret_actions = SMFIF_ADDHDRS;
	*ret_steps = steps & (NOT_ANSWERED | (every ? 0 : LEFT_OUT));
	*ret_f2 = *ret_f3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *name, struct sockaddr *address)
{
	(void)ctx;
	(void)name;
	(void)address;
	return SMFIS_NOREPLY;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	(void)ctx;
	(void)name;
	return SMFIS_NOREPLY;
}

static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
	(void)ctx;
	(void)command;
	return SMFIS_NOREPLY;
}

/* MAIL or RCPT. */
static sfsistat on_envelope(SMFICTX *ctx, char **argv)
{
	(void)ctx;
	(void)argv;
	return SMFIS_NOREPLY;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	(void)ctx;
	(void)name;
	(void)value;
	return SMFIS_NOREPLY;
}

/* DATA or the end of the headers. */
static sfsistat on_step(SMFICTX *ctx)
{
	(void)ctx;
	return SMFIS_NOREPLY;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *bytes, size_t len)
{
	body_add(&find(ctx)->body, bytes, len);
	return SMFIS_NOREPLY;
}

static sfsistat on_end_of_message(SMFICTX *ctx)
{
	static char name[] = "DKIM-Signature";
	struct message *message = find(ctx);
	unsigned char digest[EVP_MAX_MD_SIZE], signature[1024];
	size_t len = sizeof(signature);
	unsigned digest_len;
	char value[2048] = " v=1; d=example.com; s=s; bh=";
	EVP_MD_CTX *sign = EVP_MD_CTX_new();

	body_end(&message->body);
	EVP_DigestFinal_ex(message->hash, digest, &digest_len);
	const EVP_MD *md = EVP_PKEY_is_a(key, "RSA") ? EVP_sha256() : NULL;
	if (EVP_DigestSignInit(sign, NULL, md, NULL, key) != 1 ||
	    EVP_DigestSign(sign, signature, &len, digest, digest_len) != 1)
		abort();
	EVP_EncodeBlock((unsigned char *)value + strlen(value), digest, (int)digest_len);
	strcat(value, "; b=");
	EVP_EncodeBlock((unsigned char *)value + strlen(value), signature, (int)len);
	smfi_insheader(ctx, 0, name, value);
	EVP_MD_CTX_free(sign);
	drop(ctx);
	return SMFIS_CONTINUE;
}

static sfsistat on_end(SMFICTX *ctx)
{
	drop(ctx);
	return SMFIS_CONTINUE;
}

int main(int argc, char **argv)
{
	char address[256], name[] = "floor";
	struct smfiDesc description = {
	    .xxfi_name = name,
	    .xxfi_version = SMFI_VERSION,
	    .xxfi_flags = SMFIF_ADDHDRS,
	    .xxfi_connect = on_connect,
	    .xxfi_helo = on_helo,
	    .xxfi_envfrom = on_envelope,
	    .xxfi_envrcpt = on_envelope,
	    .xxfi_data = on_step,
	    .xxfi_unknown = on_unknown,
	    .xxfi_header = on_header,
	    .xxfi_eoh = on_step,
	    .xxfi_body = on_body,
	    .xxfi_eom = on_end_of_message,
	    .xxfi_abort = on_end,
	    .xxfi_close = on_end,
	    .xxfi_negotiate = on_negotiate,
	};
	every = argc == 4 && strcmp(argv[3], "every") == 0;
	FILE *file = argc == 3 || every ? fopen(argv[2], "r") : NULL;
	if (file)
		key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	if (!key) {
		fprintf(stderr, "usage: milter_floor PATH KEY.pem [every]\n");
		return 64;
	}
	fclose(file);
	snprintf(address, sizeof(address), "unix:%s", argv[1]);
	if (smfi_setconn(address) != MI_SUCCESS ||
	    smfi_register(description) != MI_SUCCESS ||
	    smfi_setbacklog(1024) != MI_SUCCESS || smfi_opensocket(true) != MI_SUCCESS)
		return 1;
	return smfi_main();
}
