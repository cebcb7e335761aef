/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Files with secrets (private keys, passwords): one check with one remedy.
 *
 * Safe: a regular file (symlinks are followed to one), owned by root or the service user,
 * nothing for others; its folder not writable by group or others unless sticky.
 * What root reads for a service user must belong to that user or be open to its group.
 */

/* As read: wiped when it goes. Zero at first. */
struct secret_text {
	char *bytes; /* NUL-terminated */
	size_t len;
};

/*
 * Reads and checks @path, at most @max bytes. @what begins each sentence: "key file".
 * @service_uid: who besides root may own it. Returns 0 and *ret, or -EINVAL with one
 * sentence in @errbuf: what is wrong and the command or step that mends it.
 * secret_text_done() either way.
 */
int secret_file_read(
    const char *what, const char *path, uid_t service_uid, size_t max,
    struct secret_text *ret, char *errbuf, size_t errsize);
void secret_text_done(struct secret_text *text);
