#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Lua scripts as C strings, each with the SHA-1 by which Redis knows it.

    embed_lua.py OUT.c FILE.lua...

FILE.lua becomes lua_FILE and lua_FILE_sha. Lines that are comments are left out: the text
travels to Redis.
"""
import hashlib
import pathlib
import sys


def literal(text):
    """As numbers: ISO C promises no string of more than 4095 characters."""
    codes = [f"{code}," for code in text.encode()] + ["0"]
    lines = [" ".join(codes[i:i + 16]) for i in range(0, len(codes), 16)]
    return "{\n\t" + "\n\t".join(lines) + "\n}"


def main():
    out, *scripts = map(pathlib.Path, sys.argv[1:])
    text = '#include "policyd/limits_script.h"\n'
    for script in scripts:
        lines = [line.strip() for line in script.read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith("--")]
        script_text = "".join(line + "\n" for line in lines)
        sha = hashlib.sha1(script_text.encode()).hexdigest()
        text += (f"\nconst char lua_{script.stem}[] = {literal(script_text)};\n"
                 f'const char lua_{script.stem}_sha[] = "{sha}";\n')
    out.write_text(text)


if __name__ == "__main__":
    main()
