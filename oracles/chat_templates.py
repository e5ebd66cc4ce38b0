#!/usr/bin/env python3
"""What `transformers` renders from chat templates.

    pip install transformers jinja2
    python oracles/chat_templates.py

Reads crates/text/tests/data/templates/*.jinja (written after the formats of well-known model families) and writes
crates/text/tests/data/chat_templates.json:
  cases     template by template: conversations, tools, options, and the text, the spans of {% generation %} blocks (in
            code points), or the message of raise_exception
  snippets  one-line templates for single features of Jinja and Python that templates rely on
"""
import datetime
import json
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

DATA = Path(__file__).resolve().parent.parent / "crates/text/tests/data"
NOW = datetime.datetime(2025, 3, 7, 14, 5, 9, 42)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = Clock

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
USER = {"role": "user", "content": "What is 2 + 2?"}
ANSWER = {"role": "assistant", "content": "It is 4."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather für eine Stadt, z.B. 北京 or \"Zürich\" <today>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city's name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "default": 3},
                "precision": {"type": "number", "default": 1e-05},
            },
            "required": ["city"],
        },
    },
}
# A property called like a method of dict, an array schema with its "items", nesting, no parameters, odd values.
ORDER = {
    "type": "function",
    "function": {
        "name": "order",
        "description": "Place an order",
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}, "required": ["sku"]}},
                "keys": {"type": ["string", "null"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "gift": {"type": "boolean", "default": True, "nullable": True},
                "limit": {"type": "number", "default": 2.5},
                "note": {"default": None},
            },
            "required": ["items"],
        },
    },
}
PING = {"type": "function", "function": {"name": "ping", "description": "Nothing", "parameters": {"type": "object", "properties": {}}}}
CALLS = [
    {"id": "abc123def", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "北京", "days": 2, "x": 0.1, "big": 1e22, "none": None, "yes": True, "list": [], "map": {}, "text": "a\"b\\c\n\t\u0001é😀</s>"}}},
    {"id": "123456789", "type": "function", "function": {"name": "ping", "arguments": {}}},
]
CONVERSATIONS = {
    "single": [USER],
    "turn": [USER, ANSWER],
    "system": [{"role": "system", "content": "  Be brief.\n"}, USER, ANSWER, {"role": "user", "content": "\n 谢谢 👩‍👩‍👧! \t"}],
    "two systems": [{"role": "system", "content": "A"}, USER, ANSWER, {"role": "system", "content": "B"}, USER],
    "not alternating": [USER, USER],
    "assistant first": [ANSWER, USER],
    "thinking": [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is 4."}, {"role": "user", "content": "And 3?"},
                 {"role": "assistant", "content": "<think>\nwell\n</think>\n\nSix."}],
    "reasoning key": [USER, {"role": "assistant", "reasoning_content": "\nhm\n", "content": "It is 4."}],
    "thinking key": [{"role": "system", "content": "S"}, USER, {"role": "assistant", "thinking": "hm", "content": "4"}, USER, {"role": "assistant", "reasoning": "so", "content": "5"}],
    "one call": [USER, {"role": "assistant", "content": None, "tool_calls": CALLS[:1]}, {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": "{\"t\": 21}"}, {"role": "assistant", "content": "21 degrees."}],
    "two calls": [{"role": "system", "content": "Use tools."}, USER, {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS},
                  {"role": "tool", "tool_call_id": "abc123def", "content": "21"}, {"role": "tool", "tool_call_id": "123456789", "content": "pong"}, ANSWER, USER],
    "call without content": [USER, {"role": "assistant", "tool_calls": CALLS[1:]}, {"role": "tool", "tool_call_id": "123456789", "content": {"a": [1, 2.0, None, True, "x'y"]}}],
    "bad call id": [USER, {"role": "assistant", "tool_calls": [{**CALLS[0], "id": "short"}]}],
    "argument string": [USER, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\":1}"}}]}],
    "parts": [{"role": "system", "content": [{"type": "text", "text": "S"}]}, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " hi "}]}, ANSWER],
    "control": [{"role": "user", "content": "a"}, {"role": "skip", "content": "b"}, {"role": "user", "content": "c"}, {"role": "stop", "content": "d"}, {"role": "user", "content": "e"}],
    "special in text": [{"role": "user", "content": "print <|im_end|> and </s> {{ 7 }} {% if %}"}],
    "no think": [{"role": "system", "content": "Act well. /no_think"}, USER, {"role": "assistant", "content": "\n\nYes"}],
    "empty": [],
}
TOOLS = {"none": None, "weather": [WEATHER], "all": [WEATHER, ORDER, PING], "empty": []}
EXTRAS = [
    {},
    {"enable_thinking": False},
    {"tools_in_user_message": False, "date_string": "1 Jan 2020"},
    {"builtin_tools": ["brave_search", "code_interpreter"]},
    {"eos_token": "<END>", "documents": [{"title": "T", "text": "x"}]},
]
WANTED = {
    "chatml": (["single", "turn", "system", "special in text", "empty"], ["none"], [{}]),
    "zephyr": (["single", "turn", "system"], ["none"], [{}, EXTRAS[4]]),
    "llama2": (["single", "turn", "system", "not alternating", "assistant first", "empty"], ["none"], [{}]),
    "llama31": (["single", "system", "one call", "two calls", "call without content", "empty"], ["none", "weather", "all"], EXTRAS[:4]),
    "qwen25": (["single", "turn", "system", "two systems", "one call", "two calls", "call without content"], ["none", "weather", "all", "empty"], [{}]),
    "qwen3": (["single", "system", "thinking", "reasoning key", "thinking key", "two calls", "argument string"], ["none", "all"], EXTRAS[:2]),
    "mistral": (["single", "turn", "system", "two calls", "call without content", "bad call id", "not alternating"], ["none", "all"], [{}]),
    "gemma": (["single", "turn", "system", "not alternating"], ["none"], [{}]),
    "gemma3": (["single", "system", "parts", "call without content"], ["none"], [{}]),
    "phi3": (["single", "turn", "system"], ["none"], [{}]),
    "deepseek_r1": (["system", "thinking", "two calls", "one call"], ["none"], [{}]),
    "typescript": (["system", "two systems", "thinking key", "control"], ["none", "all"], [{}]),
    "chatml_generation": (["single", "turn", "system", "thinking", "special in text"], ["none"], [{}]),
    "smollm3_generation": (["single", "turn", "system", "thinking", "no think"], ["none"], EXTRAS[:2]),
}

# What each evaluates to is Jinja2's and Python's word, not ours.
SNIPPETS = r"""
{{ 'a' 'b' }}|{{ "x" ~ 1 ~ none ~ true ~ 1.5 }}|{{ [1, 'a', none, true, 1.0, {'k': "it's"}] }}|{{ {'a': [1], 'b': 'q"', 1: 2.5} }}
{{ (1, 2) }}|{{ (1,) }}|{{ () }}|{{ [] }}|{{ {} }}|{{ '' }}|{{ none }}|{{ undefined_thing }}|{{ true and false }}
{{ 1e22 }}|{{ 1e-7 }}|{{ 0.1 + 0.2 }}|{{ 3 / 2 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % 3 }}|{{ -7 % 3 }}|{{ 2 ** 10 }}|{{ 4 / 2 }}
{{ 'abc'[1:] }}|{{ 'abc'[::-1] }}|{{ 'abc'[-1] }}|{{ [1,2,3,4][1:3] }}|{{ [1,2,3,4][::2] }}|{{ [1,2,3][-2:] }}|{{ 'äöü😀'[1:3] }}
{{ '  a b  '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xxaxx'.lstrip('x') }}|{{ 'xxaxx'.rstrip('x') }}|{{ '\n\t a\x1f '.strip() }}|
{{ 'a,b,,c'.split(',') }}|{{ ' a  b c '.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a b c'.split(none, 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ ' a  b '.rsplit(maxsplit=1) }}|{{ ''.split() }}|{{ ''.split(',') }}
{{ 'a\nb\r\nc\n'.splitlines() }}|{{ 'a\nb\r\nc'.splitlines(true) }}|{{ 'a\x0bb\u2028c'.splitlines() }}
{{ 'Hello'.startswith('He') }}|{{ 'Hello'.endswith(('x', 'lo')) }}|{{ 'Hello'.upper() }}|{{ 'HELLO'.lower() }}|{{ 'hello world'.title() }}|{{ 'hELLO'.capitalize() }}|{{ 'Hello'.swapcase() }}
{{ 'aXbXc'.replace('X', '-') }}|{{ 'aXbXc'.replace('X', '-', 1) }}|{{ 'aXbXc'.find('X') }}|{{ 'aXbXc'.rfind('X') }}|{{ 'abc'.find('z') }}|{{ 'aXbXc'.count('X') }}|{{ 'éa'.index('a') }}
{{ 'a=b=c'.partition('=') }}|{{ 'a=b=c'.rpartition('=') }}|{{ 'abc'.partition('=') }}|{{ 'abc'.rpartition('=') }}|{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x.jinja'.removesuffix('.jinja') }}
{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'a'.center(4, '*') }}|{{ 'ab'.center(5, '*') }}|{{ 'a'.ljust(3) }}.|{{ 'a'.rjust(3) }}
{{ 'abc'.isalpha() }}|{{ '12'.isdigit() }}|{{ 'a1'.isalnum() }}|{{ 'Ab'.isupper() }}|{{ 'ab'.islower() }}|{{ ' \t'.isspace() }}|{{ ''.isspace() }}
{{ '-'.join(['a', 'b']) }}|{{ ['a', 1, none] | join(', ') }}|{{ 'a{}b{}'.format(1, 'x') }}|{{ '%s has %d' | format('a', 3) }}|{{ '{0} {name}'.format('z', name='n') }}
{{ {'a': 1}.get('a') }}|{{ {'a': 1}.get('b') }}|{{ {'a': 1}.get('b', 'd') }}|{{ {'a': 1}.items() | list }}|{{ {'a': 1, 'b': 2}.keys() | list }}|{{ {'a': 1}.values() | list }}
{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}|{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}={{ v }};{% endfor %}|{% for k, v in {'b': 1, 'a': 2} | items %}{{ k }}{{ v }}{% endfor %}
{{ {'items': 5}.items() | list }}|{{ {'get': 5}.get('get') }}|{{ {'items': 5}['items'] }}|{{ {'keys': 1}['keys'] }}
{{ [3, 1, 2] | sort }}|{{ [3, 1, 2] | sort(reverse=true) }}|{{ [1, 2, 2] | unique | list }}|{{ [1, 2] | first }}|{{ [1, 2] | last }}|{{ [1, 2] | sum }}|{{ [[1, 2], [3]] | map('length') | list }}|{{ [1, 5, 2] | max }}|{{ [3, 1] | min }}|{{ [1, 2, 3] | reverse | list }}
{{ [{'r': 'u', 'c': 1}, {'r': 'a', 'c': 2}] | selectattr('r', 'equalto', 'u') | map(attribute='c') | list }}|{{ [{'r': 'u'}, {'x': 1}] | selectattr('r', 'defined') | list | length }}|{{ [{'r': 1}, {'r': 2}] | rejectattr('r', 'in', [1]) | list }}|{{ ['a', 'b'] | reject('equalto', 'a') | list }}|{{ [1, none, 2] | select | list }}
{{ 'a' in 'abc' }}|{{ 'a' in ['a'] }}|{{ 'a' in {'a': 1} }}|{{ 'z' not in 'abc' }}|{{ 1 in [1.0] }}|{{ not false }}|{{ 1 == 1.0 }}|{{ '1' == 1 }}|{{ 1 < 2 < 3 }}
{{ x is defined }}|{{ x is undefined }}|{{ none is none }}|{{ 'a' is string }}|{{ 1 is number }}|{{ 1 is integer }}|{{ 1.0 is float }}|{{ true is boolean }}|{{ {} is mapping }}|{{ [] is sequence }}|{{ 'a' is sequence }}|{{ [] is iterable }}|{{ 'a' is iterable }}|{{ 3 is odd }}|{{ 3 is divisibleby 3 }}|{{ true is true }}|{{ 1 is true }}|{{ false is false }}|{{ none is false }}
{{ 'yes' if 1 > 0 }}|{{ 'yes' if 0 }}|{{ 'a' if false else 'b' }}|{{ none or 'd' }}|{{ '' or [] or 'x' }}|{{ 0 and 1 }}|{{ x | default('d') }}|{{ '' | default('d', true) }}|{{ none | default('d') }}|{{ '' | d('e', boolean=true) }}
{{ ' a ' | trim }}|{{ 'abc' | upper }}|{{ 'abc' | length }}|{{ [1] | count }}|{{ 'a b' | title }}|{{ '12' | int + 1 }}|{{ 'x' | int }}|{{ '1.5' | float }}|{{ 3.7 | int }}|{{ 3.14159 | round(2) }}|{{ 2.5 | round }}|{{ -3 | abs }}|{{ 'aXb' | replace('X', '-') }}|{{ 'abc' | list }}|{{ 5 | string ~ 'x' }}|{{ [1] | string }}|{{ {'a': none} | string }}|{{ true | string }}
{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(4, true) }}|{{ 'a\n\nb' | indent(width=2, first=True, blank=True) }}|{{ '<a&"b">' | e }}|{{ '<a>' | safe }}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.cycle('a', 'b') }};{% endfor %}|{% for i in [] %}x{% else %}empty{% endfor %}|{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}|{% for i in range(1, 10, 4) %}{{ i }}{% endfor %}
{% for i in 'ab' %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }}{% endfor %}|{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}|{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}|{% for i in [1, 2, 3] if i != 2 %}{{ i }}{{ loop.last }}{% endfor %}
{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}|{% set ns = namespace(a=1, b=[]) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set ns.b = ns.b + [i] %}{% endfor %}{{ ns.a }}{{ ns.b }}|{% set a, b = 1, 2 %}{{ a }}{{ b }}|{% set t %}block {{ 1 }}{% endset %}{{ t }}|{% set u | upper %}abc{% endset %}{{ u }}
{% macro m(a, b='d', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}{{ m('x', 'y', 'z') }}|{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{% endcall %}|{% filter upper %}abc{% endfilter %}|{% with q = 3 %}{{ q }}{% endwith %}
{{ dict(a=1, b=2) }}|{{ dict(a=1)['a'] }}|{{ {'a': {'b': 1}}.a.b }}|{{ {'a': [1, {'b': 2}]}['a'][1].b }}|{{ namespace(x=3).x }}|{{ {'a': 1}.zzz is defined }}|{{ {'a': 1}['zzz'] is defined }}|{{ [1][5] is defined }}
{{ {'a': 1, 'b': [1, 2.0, 'é', none, true]} | tojson }}|{{ [] | tojson }}|{{ {} | tojson(indent=2) }}
{{ {'b': 1, 'a': [1, {'c': []}]} | tojson(indent=2) }}|{{ {'b': 1, 'a': 'ü😀\u2028'} | tojson(ensure_ascii=true) }}|{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}|{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}|{{ [1] | tojson(indent='\t') }}
{{ '<>&\'"/' | tojson }}|{{ 1e16 | tojson }}|{{ 1e15 | tojson }}|{{ 0.00001 | tojson }}|{{ 1.0 | tojson }}|{{ 123456789012345678901 | tojson }}|{{ (1, 2) | tojson }}|{{ 'a\x7fb\x00' | tojson }}|{{ {1: 2, none: 4, 1.5: 5} | tojson }}
{{ strftime_now('%Y-%m-%d %H:%M:%S') }}|{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %-d, %y %I:%M %p %j %U %W %V %G %a %w %u %e %%') }}|{{ strftime_now('%c|%x|%X|%D|%F|%T|%R|%f|%Z%z|%C|%^a|%_d|%k%l%n%t') }}
a  {%- if true -%}  b  {%- endif -%}  c|{#- comment -#}  d|{% raw %}{{ x }}{% endraw %}|{{ '{{' }}|{{- ' e ' -}}|  {%+ if true %}f{% endif %}
{{ 'a' + 'b' }}|{{ [1] + [2] }}|{{ 'ab' * 2 }}|{{ [0] * 2 }}|{{ 1 + 2 * 3 }}|{{ (1 + 2) * 3 }}|{{ -2 }}|{{ 'é' | length }}|{{ 'a' < 'b' }}|{{ [1, 2] == [1, 2] }}|{{ {'a': 1} == {'a': 1} }}
{{ messages | length }}|{{ messages[0].role }}|{{ messages[0]['content'][:4] }}|{{ (messages | last).role }}|{{ messages[-1]['role'] }}|{{ (messages | first)['role'] }}|{{ tools is none }}|{{ tools is defined }}|{{ bos_token }}|{{ add_generation_prompt }}|{{ messages | map(attribute='role') | join(',') }}
{{ messages[0] | tojson }}|{{ messages[0] }}|{{ messages[0].items() | list }}|{{ messages[0].get('nope') is none }}|{{ messages[0].nope is defined }}|{{ 'role' in messages[0] }}
""".strip("\n").split("\n")

# Templates that fail: the kind of failure is what counts.
FAILING = [
    ("raise", "{{ raise_exception('no: ' ~ 1) }}"),
    ("raise", "{% if messages %}{{- raise_exception('第' + '一') }}{% endif %}"),
    ("syntax", "a\n{% if %}"),
    ("syntax", "{{ 'unclosed }}"),
    ("syntax", "{% for x in y %}"),
    ("syntax", "{% generation %}never closed"),
    ("render", "{{ nope.attribute }}"),
    ("render", "{{ messages | nofilter }}"),
    ("render", "{{ nofunction() }}"),
    ("render", "{{ messages.append(1) }}"),
    ("render", "{{ undefined_thing | tojson }}"),
    ("render", "{{ 'a'.split('') }}"),
]


def render(template, messages, tools, add_generation_prompt, extra):
    """Text and spans, or the message of raise_exception."""
    try:
        (text,), (spans,) = chat_template_utils.render_jinja_template(
            conversations=[messages], tools=tools, chat_template=template, return_assistant_tokens_mask=True,
            add_generation_prompt=add_generation_prompt, **{**SPECIAL, **extra},
        )
    except jinja2.exceptions.UndefinedError as error:
        return {"fails": str(error)}
    except jinja2.exceptions.TemplateError as error:
        return {"raises": error.message}
    return {"text": text, "spans": [list(s) for s in spans if s[0] < s[1]]}


def main():
    cases = []
    for name, (conversations, tools, extras) in WANTED.items():
        template = (DATA / "templates" / f"{name}.jinja").read_text()
        for conversation in conversations:
            for tool in tools:
                for extra in extras if tool == tools[-1] else extras[:1]:
                    for prompt in (False, True) if extra == extras[0] else (True,):
                        case = {"template": name, "messages": conversation, "tools": tool, "extra": extra, "add_generation_prompt": prompt}
                        case |= render(template, CONVERSATIONS[conversation], TOOLS[tool], prompt, extra)
                        cases.append(case)
    snippets = []
    for template in SNIPPETS:
        result = render(template, CONVERSATIONS["system"], None, False, {})
        assert "text" in result, (template, result)
        snippets.append({"template": template, "text": result["text"]})
    failing = []
    for kind, template in FAILING:
        try:
            result = render(template, CONVERSATIONS["system"], None, False, {})
        except (TypeError, ValueError):
            result = {}
        assert "text" not in result, (template, result)
        failing.append({"kind": kind, "template": template, "message": result.get("raises") if kind == "raise" else None})
    out = {
        "made_with": {"transformers": transformers.__version__, "jinja2": jinja2.__version__},
        "now": [NOW.year, NOW.month, NOW.day, NOW.hour, NOW.minute, NOW.second, NOW.microsecond],
        "special": SPECIAL, "conversations": CONVERSATIONS, "tools": TOOLS,
        "cases": cases, "snippets": snippets, "failing": failing,
    }
    path = DATA / "chat_templates.json"
    # One case a line: readable in a diff.
    lines = lambda rows: "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"
    fields = [f"{json.dumps(k)}: " + (lines(v) if isinstance(v, list) and isinstance(v[0], dict) else json.dumps(v, ensure_ascii=False)) for k, v in out.items()]
    path.write_text("{\n" + ",\n".join(fields) + "\n}\n")
    print(f"{path}: {len(cases)} cases, {len(snippets)} snippets, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
