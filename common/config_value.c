/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/config_values.h"

#include <string.h>

struct config_value config_root(const struct config_file *file)
{
	return (struct config_value){
	    .file = file, .node = file->text.nodes, .json = file->text.root};
}

struct config_each config_each(const struct config_value *parent)
{
	const struct config_node *nodes = parent->file->text.nodes;
	uint32_t index = (uint32_t)(parent->node - nodes);
	return (struct config_each){
	    .value = {.file = parent->file, .parent = parent},
	    .next = index + 1,
	    .end = parent->node->next,
	};
}

bool config_next(struct config_each *each)
{
	const struct config_text *text = &each->value.file->text;
	json_t *parent = each->value.parent->json;

	while (each->next < each->end) {
		const struct config_node *node = &text->nodes[each->next];
		each->next = node->next;
		if (node->replaced)
			continue;
		each->value.node = node;
		if (node->key_line) {
			each->value.key = text->bytes + node->key_offset;
			each->value.key_len = node->key_len;
			each->value.json =
			    json_object_getn(parent, each->value.key, node->key_len);
		} else {
			each->value.index = each->count;
			each->value.json = json_array_get(parent, each->count);
		}
		each->count++;
		return true;
	}
	return false;
}

bool config_member(
    const struct config_value *object, const char *key, struct config_value *ret)
{
	size_t len = strlen(key);
	if (!json_object_get(object->json, key))
		return false;
	for (struct config_each each = config_each(object); config_next(&each);) {
		if (each.value.key_len == len && memcmp(each.value.key, key, len) == 0) {
			*ret = each.value;
			return true;
		}
	}
	return false;
}

struct config_origin config_origin(const struct config_value *value)
{
	return (struct config_origin){
	    .file = value->file, .node = value->node, .json = value->json};
}

bool config_again(
    const struct config_origin *origin, const struct config_value *parent,
    const char *path, struct config_value *ret)
{
	if (!origin->file)
		return false;
	*ret = (struct config_value){
	    .file = origin->file,
	    .node = origin->node,
	    .json = origin->json,
	    .parent = parent,
	    .key = path,
	    .key_len = strlen(path),
	};
	return true;
}

bool config_asks_nothing(const struct config_value *value)
{
	uint64_t ms;

	switch (json_typeof(value->json)) {
	case JSON_OBJECT:
		return json_object_size(value->json) == 0;
	case JSON_ARRAY:
		return json_array_size(value->json) == 0;
	case JSON_STRING:
		return !json_string_length(value->json) ||
		       (time_parse(json_string_value(value->json), true, &ms) && !ms);
	case JSON_FALSE:
		return true;
	case JSON_INTEGER:
	case JSON_REAL:
	case JSON_TRUE:
	case JSON_NULL:
		break;
	}
	return false;
}
