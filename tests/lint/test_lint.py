# SPDX-License-Identifier: BSD-2-Clause
"""The house rules on the project, and each on samples that it must complain about."""

import pytest

import rules
import tree


@pytest.fixture(scope="module")
def project():
    return tree.texts()


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_project_keeps(rule, project):
    complaints = rule(project)
    assert not complaints, "\n" + "\n".join(complaints)


def test_the_project_is_seen(project):
    """An empty tree breaks no rule: the walk must really find the rooms."""
    for room in rules.ROOMS:
        assert any(rules.room_of(path) == room for path in project), room
    assert "tests/lint/rules.py" in project


SPDX = "/* SPDX-License-Identifier: BSD-2-Clause */\n"

# Rule, tree, and a word of the complaint; None: no complaint.
SAMPLES = [
    (rules.include_edges, {"milter/a.c": '#include "policyd/core/decide.h"'}, "may not"),
    (rules.include_edges, {"common/a.h": '#include "milter/mask.h"'}, "may not"),
    (rules.include_edges, {"policyd/core/checks/a.c": '#include "policyd/store.h"'},
     "policyd/core may not"),
    (rules.include_edges, {"ctl/a.c": '#include "policyd/server.h"'}, "may not"),
    (rules.include_edges, {"milter/a.c": '#include "mask.h"'}, "from the top"),
    (rules.include_edges, {"policyd/a.c": '# include "policyd/core/facts.h"\n'
                                          '#include "common/ip.h"\n#include <time.h>'}, None),
    (rules.include_edges, {"tests/unit/test_a.c": '#include "milter/mask.h"'}, None),
    (rules.one_door, {"milter/a.c": "#include <libmilter/mfapi.h>",
                      "milter/b.c": "#include <libmilter/mfapi.h>"}, "more than one"),
    (rules.one_door, {"milter/a.h": "#include <opendkim/dkim.h>"}, "shows libopendkim"),
    (rules.one_door, {"policyd/a.c": "#include <hiredis/hiredis.h>",
                      "policyd/b.c": "#include <hiredis/async.h>"}, "more than one"),
    (rules.one_door, {"policyd/a.c": "#include <maxminddb.h>\n",
                      "milter/a.c": "#include <libmilter/mfapi.h>\n"
                                    '#include "common/dkim_key.h"',
                      "milter/b.c": "#include <dkim.h>"}, None),
    (rules.pure_core, {"policyd/core/a.c": "#include <time.h>"}, "pure"),
    (rules.pure_core, {"policyd/core/checks/a.c": '#include "common/log.h"'}, "pure"),
    (rules.pure_core, {"policyd/core/a.c": "#include <string.h>",
                       "policyd/a.c": "#include <time.h>"}, None),
    (rules.own_header_first, {"common/a.c": '#include <a>\n#include "common/a.h"',
                              "common/a.h": ""}, "first include"),
    (rules.own_header_first, {"common/a.c": '#include "common/a.h"', "common/a.h": "",
                              "common/main.c": "#include <a>"}, None),
    (rules.file_names, {"common/util.c": ""}, "util"),
    (rules.file_names, {"tests/e2e/mail_helpers.py": ""}, "helpers"),
    (rules.file_names, {"common/futile.c": ""}, None),
    (rules.spdx, {"common/a.c": "int a;"}, "SPDX"),
    (rules.spdx, {"contrib/run": "#!/bin/bash\necho"}, "SPDX"),
    (rules.spdx, {"common/a.c": SPDX, "README.md": "text"}, None),
    (rules.machine_paths, {"a.py": 'open("/ho' + 'me/me/x")'}, "one machine"),
    (rules.machine_paths, {"a": "see /wo" + "rk/tree"}, "one machine"),
    (rules.machine_paths, {"a": "see http://x.example/home/x and $dir/root/x"}, None),
    (rules.unfinished, {"a.c": "/* TO" + "DO: all of it */"}, "all of it"),
    (rules.unfinished, {"a.c": "/* mastodon */"}, None),
    (rules.size, {"a.c": "x\n" * 901}, "second file"),
    (rules.size, {"a.c": "x\n" * 900}, None),
    (rules.meson_lists, {"a/meson.build": "files('gone.c')"}, "does not exist"),
    (rules.meson_lists, {"a/meson.build": "files('a.c')", "a/a.c": "", "a/b.c": ""},
     "no meson.build"),
    (rules.meson_lists, {"a/meson.build": "# 'b.c'\nfiles('a.c')", "a/a.c": "",
                         "a/b.c": ""}, "no meson.build"),
    (rules.meson_lists, {"a/meson.build": "files('core/a.c')", "a/core/a.c": "",
                         "u/meson.build": "{'ip': []}\n'test_' + name + '.c'",
                         "u/test_ip.c": ""}, None),
]


@pytest.mark.parametrize("rule, sample, word", SAMPLES)
def test_rule_on_sample(rule, sample, word):
    complaints = rule(sample)
    if word is None:
        assert complaints == []
    else:
        assert any(word in complaint for complaint in complaints), complaints


def test_every_rule_has_a_sample_it_complains_about():
    shown = {rule for rule, _, word in SAMPLES if word is not None}
    assert shown == set(rules.RULES)
