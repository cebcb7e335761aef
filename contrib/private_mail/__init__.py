# SPDX-License-Identifier: BSD-2-Clause
"""A private mail system on loopback, for contrib/quickstart and tests/e2e.

Postfix with its own configuration, queue and log, Dovecot as SASL server, a sink that
takes what leaves, and Postern's daemons between them, all below one directory under /tmp
and on free ports. Nothing of the machine's own mail set-up is read or changed.

    system       all of it together
    process      a child process whose output can be waited for
    ports        free ports on loopback
    workspace    the directory, with the permissions that Postfix and Dovecot ask for
    certificate  a self-signed one, by openssl
    postfix      the instance, made of contrib/postfix/main.cf and master.cf unchanged
    dovecot      SASL
    sink         an SMTP server that keeps messages byte by byte
    smtp         a client that can send exact bytes
    postern      the daemons and their configuration
    dkim_check   what an independent verifier says of a signature

It needs root, because Postfix does. No function sleeps: each waits for a line, a
connection or a condition, and gives up after a time.
"""
