#!/usr/bin/env python3
"""Renders the committed template fixtures with jinja2, set up as transformers sets it up.

Writes tests/data/text/template_snippets.json (small expressions and their text, or that they must fail) and
example.json (example.jinja over conversations). Needs the package jinja2.
"""
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "text"


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


VARIABLES = {
    "s": "Hello, World",
    "u": "Żółć 你好 😀",
    "n": 7,
    "f": 2.5,
    "items": [3, 1, 2],
    "words": ["b", "A", "c"],
    "d": {"b": 1, "a": {"x": [1, 2, {"y": None}]}, "items": "shadowed"},
    "people": [{"name": "Ann", "age": 30, "city": "Oslo"}, {"name": "bob", "age": 25, "city": "Rome"}, {"name": "Cid", "age": 30, "city": "Oslo"}],
    "nothing": None,
    "yes": True,
    "quoted": "it's \"quoted\"\n\ttab \\ \u00e9",
}

SNIPPETS = """
{{ s }} {{ n + 1 }} {{ n - 10 }} {{ n * 2 }} {{ n / 2 }} {{ n // 2 }} {{ n % 4 }} {{ n ** 2 }} {{ -n }} {{ +n }}
{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 // -2 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}
{{ 1.0 }} {{ 1e100 }} {{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1.5e-7 }} {{ 123456789.125 }} {{ 1_000 }}
{{ true }} {{ True }} {{ false }} {{ none }} {{ None }}
{{ [1, 'a', "it's", none, true, 1.5, [2], {'k': 'v'}, (1,), (1, 2)] }}
{{ {'a': 1, 'b': [1, 2]} }} {{ () }} {{ [] }} {{ {} }}
{{ quoted }}|{{ [quoted] }}
{{ s ~ n ~ none ~ 1.0 ~ missing }}
{{ 'a' 'b' "c" }} {{ 'x\\ty\\n' }}{{ '\\u00e9\\x41' }}{{ '\\q' }}
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[:-3] }} {{ u[1] }} {{ u[5:7] }} {{ u[::2] }}
{{ items[1:] }} {{ items[::-1] }} {{ items[-2:] }} {{ items[5:] }} {{ items[10] }}|{{ s[100] }}|
{{ d.b }} {{ d['b'] }} {{ d.a.x[2].y }} {{ d.missing }} {{ d['missing'] }} {{ d.items() | list }}
{{ d['items'] }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 5) }} {{ d.keys() | list }} {{ d.values() | list | length }}
{{ missing }} {{ missing.attr }}
{{ missing + 1 }}
{{ missing == missing }} {{ missing == none }} {{ missing is defined }} {{ missing | default('x') }}
{{ missing | length }} {{ missing | list }} {{ missing | string }} {{ missing | join }} {{ missing | trim }}
{{ missing | items | list }} {{ missing | first }} {{ missing | upper }}
{{ missing() }}
{{ missing | tojson }}
{{ missing < 1 }}
{{ -missing }}
{{ 1 if yes else 2 }} {{ 1 if nothing }} {{ 'a' if n > 5 else 'b' if n > 3 else 'c' }}
{{ n > 5 and n < 10 }} {{ n and s }} {{ nothing or 'z' }} {{ not n }} {{ not nothing }} {{ 0 or '' or [] }} {{ 1 and 0 and 2 }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 'a' == 1 }}
{{ 'a' < 1 }}
{{ 2 in items }} {{ 9 not in items }} {{ 'ell' in s }} {{ 'b' in d }} {{ 'x' in missing }} {{ not 1 in [1] }}
{{ 1 in 'abc' }}
{{ 1 in 5 }}
{{ 1 in none }}
{{ s + 1 }}
{{ s + words }}
{{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ 'a' * -1 }} {{ items + [4] }}
{{ 'a' - 'b' }}
{{ n is divisibleby 7 }} {{ n is odd }} {{ n is even }} {{ n is number }} {{ n is integer }} {{ f is float }} {{ yes is boolean }} {{ yes is integer }}
{{ s is string }} {{ items is iterable }} {{ items is sequence }} {{ d is mapping }} {{ d is sequence }} {{ n is iterable }} {{ nothing is none }} {{ nothing is not none }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ n is eq 7 }} {{ n is gt(3) }} {{ n is in [7] }} {{ n is sameas n }} {{ s is not string }} {{ true is true }} {{ 1 is true }}
{{ n is nosuchtest }}
{{ items | sort }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ items | sort(reverse=true) }} {{ items | sort | first }}
{{ people | sort(attribute='age') | map(attribute='name') | join(',') }} {{ people | sort(attribute='name', reverse=true) | map(attribute='name') | list }}
{{ people | selectattr('age', 'gt', 26) | map(attribute='name') | list }} {{ people | rejectattr('city', 'equalto', 'Oslo') | list | length }} {{ people | selectattr('name') | list | length }}
{{ items | select('odd') | list }} {{ items | reject('odd') | list }} {{ items | select | list }} {{ [0, 1, ''] | select | list }}
{{ people | groupby('city') | map('first') | list }} {% for c, g in people | groupby('city') %}{{ c }}:{{ g | length }} {% endfor %}
{{ words | map('upper') | list }} {{ words | map('replace', 'b', 'q') | join }} {{ items | map('string') | join('-') }}
{{ items | sum }} {{ people | sum(attribute='age') }} {{ items | max }} {{ items | min }} {{ words | max }} {{ people | max(attribute='age') }}
{{ items | length }} {{ s | length }} {{ u | length }} {{ d | length }} {{ items | count }}
{{ n | length }}
{{ nothing | length }}
{{ items | last }} {{ s | first }} {{ [] | last }}| {{ items | reverse | list }} {{ s | reverse }}
{{ items | join(', ') }} {{ people | join('; ', attribute='name') }} {{ d | join }} {{ words | join(1) }}
{{ s | upper }} {{ s | lower }} {{ s | title }} {{ s | capitalize }} {{ "they're re-do (x)" | title }} {{ u | upper }}
{{ '  x ' | trim }}| {{ 'xxaxx' | trim('x') }} {{ s | replace('l', 'L') }} {{ s | replace('l', 'L', 1) }} {{ 'ab' | replace('', '-') }}
{{ n | default(1) }} {{ '' | default('e') }}| {{ '' | default('e', true) }} {{ nothing | default('e') }} {{ nothing | default('e', boolean=true) }} {{ missing | d('q') }}
{{ '12' | int }} {{ 'x' | int }} {{ '1.9' | int }} {{ 'x' | int(5) }} {{ 'ff' | int(0, 16) }} {{ 3.99 | int }} {{ '3.5' | float }} {{ 'x' | float }} {{ ' 7 ' | int }}
{{ f | round }} {{ 3.14159 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ 2.9 | round(method='floor') }} {{ 42 | round }} {{ -3 | abs }} {{ -3.5 | abs }}
{{ d | tojson }} {{ quoted | tojson }} {{ u | tojson }} {{ u | tojson(ensure_ascii=true) }} {{ [1.0, 1e20, true, none, 'a/b<c>&'] | tojson }}
{{ d | tojson(indent=2) }}
{{ d | tojson(indent=4, separators=(',', ':')) }} {{ d | tojson(separators=(',', ':')) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=2) }}
{{ {1: 2, true: 3, none: 4} | tojson }}
{{ d | dictsort | list | length }} {% for k, v in {'b': 1, 'A': 2} | dictsort %}{{ k }}={{ v }} {% endfor %}{% for k, v in {'b': 1, 'a': 2} | dictsort(by='value', reverse=true) %}{{ k }} {% endfor %}
{{ d | items | list | length }} {% for k, v in d | items %}{{ k }} {% endfor %}
{{ 'x' | items }}
{{ 'a\\nb\\n\\nc' | indent }} {{ 'a\\nb' | indent(2, true) }} {{ 'a\\n\\nb' | indent(1, blank=true) }} {{ 'a\\nb' | indent('> ') }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3, 4, 5] | batch(2, 'x') | list }} {{ [1, 2, 3, 4, 5] | slice(2) | list }} {{ [1, 2, 3, 4, 5] | slice(3, 0) | list }}
{{ [1, 1, 2, 'a', 'A'] | unique | list }} {{ 'foo bar baz' | wordcount }} {{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true, '.', 0) }} {{ 'short' | truncate }}
{{ 'x' | center(5) }}| {{ '%s is %d and %.2f' | format('a', 3, 1.005) }} {{ '%5d|%-5d|%05d|%x' % (1, 2, 3, 255) }} {{ '%s' % 'a' }} {{ '%%' % () }}
{{ '<a href="x">' | escape }} {{ 'a b/c?d' | urlencode }} {{ '<b>' | safe }} {{ items | string }} {{ 5 | string ~ 'x' }} {{ s | list }}
{{ s | nosuchfilter }}
{% if false %}{{ s | nosuchfilter }}{% endif %}fine
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ "they're" .title() }} {{ s.split(',') }} {{ s.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b '.split() }} {{ ' a  b c'.split(none, 1) }}
{{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ 'a\\nb'.splitlines(true) }} {{ s.startswith('Hell') }} {{ s.endswith(('x', 'ld')) }} {{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('q') }} {{ s.count('l') }} {{ s.index('W') }}
{{ s.index('q') }}
{{ 'xxaxx'.strip('x') }} {{ 'xxaxx'.lstrip('x') }} {{ 'xxaxx'.rstrip('x') }} {{ ' a '.strip() }}| {{ 'abcabc'.strip('cab') }}| {{ s.replace('o', '0', 1) }} {{ s.replace('o', '0') }}
{{ ', '.join(words) }} {{ '7'.zfill(3) }} {{ '-7'.zfill(4) }} {{ 'a'.ljust(3) }}| {{ 'a'.rjust(3) }} {{ 'a'.center(4, '*') }} {{ 'a'.isalpha() }} {{ '1'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ ''.isdigit() }} {{ 'A'.isupper() }} {{ 'a1'.islower() }}
{{ 'pre-x'.removeprefix('pre-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ s.capitalize() }} {{ 'ABC'.casefold() }}
{{ '{} {}'.format(1, 'b') }} {{ '{1} {0} {x}'.format(1, 2, x=3) }} {{ '{{}}'.format() }}
{{ ', '.join(items) }}
{{ items.index(2) }} {{ items.count(1) }} {{ d.copy() == d }}
{{ items.append(4) }}
{{ d.update({}) }}
{{ d.pop('b') }}
{{ s.nosuchmethod() }}
{{ n() }}
{{ n.foo }}| {{ n.foo is defined }} {{ s.foo is defined }} {{ d.foo is defined }} {{ d.get is defined }}
{{ nothing.foo }}|
{{ nothing.foo.bar }}
{{ nothing[0] }}|
{{ range(5) | list }} {{ range(2, 8, 3) | list }} {{ range(3, 0, -1) | list }} {{ range(0) | list }} {{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }}
{% for i in items %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.cycle('a', 'b') }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %} {% for i in missing %}x{% else %}none{% endfor %} {% for c in 'ab' %}{{ c }}.{% endfor %}
{% for i in nothing %}{% endfor %}
{% for i in 5 %}{% endfor %}
{% for k in d %}{{ k }} {% endfor %}{% for k, v in d.items() %}{{ k }} {% endfor %}
{% for a, b in [(1, 2), (3, 4)] %}{{ a }}-{{ b }} {% endfor %}{% for a, b in [[1, 2]] %}{{ a + b }}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for i in range(10) if i % 2 %}{{ i }}/{{ loop.length }} {% endfor %}{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(2) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}|{% endfor %}
{% set x = 1 %}{% for i in range(3) %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(c=0, items=[]) %}{% for i in range(3) %}{% set ns.c = ns.c + i %}{% set ns.items = ns.items + [i] %}{% endfor %}{{ ns.c }} {{ ns.items }}
{% set x.y = 1 %}
{% set d.b = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set t = 1, 2 %}{{ t }} {% set x %}block {{ n }}{% endset %}{{ x }} {% set x | upper %}abc{% endset %}{{ x }}
{% if n > 5 %}{% set q = 1 %}{% endif %}{{ q }} {% if n > 50 %}a{% elif n == 7 %}b{% else %}c{% endif %} {% if missing %}x{% else %}y{% endif %} {% if n is defined and n %}z{% endif %}
{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c='z') }} {{ m(a=9) }} {{ m() }}| {{ m(1) | upper }} {{ m('a') ~ m('b') }}
{% macro m() %}{{ varargs }}{{ kwargs }}{{ n }}{% endmacro %}{{ m(1, 2, x=3) }}
{% macro outer(x) %}[{{ inner(x) }}]{% endmacro %}{% macro inner(y) %}<{{ y }}>{% endmacro %}{{ outer('q') }}
{% macro rec(k) %}{{ k }}{% if k > 0 %},{{ rec(k - 1) }}{% endif %}{% endmacro %}{{ rec(4) }}
{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('x') %}body {{ n }}{% endcall %} {% macro each() %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(v) each() %}({{ v }}){% endcall %}
{% filter upper %}abc {{ s }}{% endfilter %} {% filter replace('a', 'b') | title %}aaa{% endfilter %}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}|
{% for p in [{'v': 1, 'k': [{'v': 2, 'k': []}]}] recursive %}{{ p.v }}@{{ loop.depth }}({{ loop(p.k) }}){% endfor %}
{% raw %}{{ not }} {% a %}{% endraw %} {# comment #}x{#- c -#} y
{{ {'a': {'b': {}}} }}{{ {'a': 1}['a'] }}{{ [[1, 2], [3]][0][1] }}{{ {'x': [1]}.x[0] }}
{{ "a" if true else "b" ~ "c" }} {{ 1 + 2 ~ 3 * 4 }} {{ (1, 2)[0] }} {{ -1 | abs }} {{ 2 * 3 | string }} {{ not true | string }} {{ 10 - 2 - 3 }} {{ 2 ** 3 ** 2 }}
{{ raise_exception('stop: ' ~ n) }}
{% if n == 7 %}{{ '' }}{% endif %}{{ '' ~ [] ~ {} ~ (none,) }}
{{ d.a.x | length }} {{ d['a']['x'][0] }} {{ people[0].name }} {{ people[-1]['age'] }} {{ people | map(attribute='city') | unique | list }} {{ people | map(attribute='zip', default='-') | list }} {{ people | map(attribute='name') | map('lower') | list }}
{{ 1 / 0 }}
{{ 5 % 0 }}
{{ [] + {} }}
{{ {[1]: 2} }}
{{ s[1:2:0] }}
{{ s['a':] }}
{{ items['x'] }}|{{ d[1] }}|{{ d[none] }}|
{% for x in [1] %}{{ loop }}{% break %}{% endfor %}
{{ namespace(a=1).a }}{{ namespace({'b': 2}).b }}{{ namespace(a=1).zz }}|
{{ yes + 1 }} {{ true + true }} {{ yes ~ '' }} {{ yes | int }} {{ [true, false] | sum }} {{ yes | string | lower }}
{{ 'a' is in 'abc' }} {{ 'b' is in ['a'] }} {{ s is defined and s is string }} {{ s is defined or x is undefined }} {{ (s is string) == true }}
{{ s.__class__ }}
{{ 'Straße ÀÉ' | lower }} {{ 'Straße' | upper }} {{ 'ÀB' | lower | length }} {{ u.split(' ') | length }} {{ '\\u00a0x\\u3000' | trim }}|
{{ [3, 'a'] | sort }}
{{ items | tojson | length }} {{ items | first | string | length }} {{ words | join('') | list | reverse | join }}
{{ 7 // 2 * 2 + 7 % 2 }} {{ (1 + 2) * 3 }} {{ 1 + 2 * 3 }} {{ 2 * (3 + 4) ~ 'x' }} {{ 7.0 // 2 }} {{ 1e3 | int }} {{ 3 == 3.0 and 'eq' }}
{{ '\\'' }} {{ "\\"" }} {{ '"' | tojson }} {{ "é" | tojson }} {{ '\\\\n' }} {{ ['\\\\', "'", '"', '\\n', '\\x01', '\\u00e9', '\\u200b'] }}
{%- set x = 1 -%} a {{- x -}} b {%+ if x %}c{% endif +%} d
"""

LAYOUT = [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a\n  {%- if true %}\n  b\n  {%- endif %}\nc\n\n",
    "a  {% if true %}  b  {% endif %}  c",
    "  {{ n }}\n  {{- n }}\n  {{ n -}}\n  x",
    "{% for i in items %}\n  {{ i }}\n{% endfor %}\nend",
    "{% for i in items -%}\n  {{ i }}\n{%- endfor %}\nend",
    "  {# c #}\nx\n  {#- c -#}\n y",
    "\t{% set x = 1 %}\n\n{{ x }}\n",
    "{% if true %}\r\na\r\n{% endif %}\r\nb\r",
    "x{% raw %}\n  {{ y }}\n  {% endraw %}\nz",
    "x {%- raw -%}\n  {{ y }}\n  {%- endraw -%}\nz",
    "  {%+ if true %}\n a\n  {%+ endif %}\nb",
    "{% if true +%}\na\n{% endif +%}\nb",
    "é \u00a0{%- if true %}\u3000x{% endif %}",
    "{{ n }}\n\n",
    "\n\n{{ n }}\n",
    "{%- if true -%}   a   {%- endif -%}   b",
    "a{% if true %}{% endif %}\n\nb",
    "{{ 'a\nb' }}",
    "{{\n n\n+\n1 }}",
    "{{ n }}{% if 1 %}\n{% endif %}{{ n }}",
    "   {% if 1 %}x{% endif %}   {% if 1 %}y{% endif %}\n   {% if 1 %}\n   {% endif %}z",
    "{% generation_ %}",
    "{{ 1 +",
    "{{ }}",
    "{% for in x %}{% endfor %}",
    "{% set = 1 %}",
    "{{ a b }}",
    "{{ 'unterminated }}",
    "{{ (1 }}",
    "{{ 1) }}",
    "{% if x %}",
    "{% else %}",
    "{% break %}",
    "{{ $ }}",
    "{{ 1 is }}",
    "{{ f(a=1, 2) }}",
]


def rendered(env, source, variables):
    try:
        return {"text": env.from_string(source).render(**variables)}
    except Exception as error:  # noqa: BLE001: any failure counts
        return {"fails": f"{type(error).__name__}: {error}"}


def main():
    env = environment()
    snippets = []
    sources = SNIPPETS.strip().split("\n")
    # Short lines give short failures: the parts of a long line are rendered alone as well.
    for line in sources:
        snippets.append(line)
        parts = line.split("}} {{")
        if len(parts) > 2 and "{%" not in line:
            for i, part in enumerate(parts):
                snippets.append(("{{" if i else "") + part + ("}}" if i + 1 < len(parts) else ""))
    seen, out = set(), []
    for source in snippets + LAYOUT:
        if source in seen:
            continue
        seen.add(source)
        result = rendered(env, source, VARIABLES)
        # Addresses and reprs of Python objects are not part of the language.
        if " at 0x" in result.get("text", "") or "<" + "generator" in result.get("text", "") or "LoopContext" in result.get("text", ""):
            continue
        out.append({"source": source, **result})
    (FOLDER / "template_snippets.json").write_text(json.dumps({"variables": VARIABLES, "snippets": out}, ensure_ascii=False, indent=1) + "\n")

    tools = [{"type": "function", "function": {"name": "weather", "description": "Weather of a town", "parameters": {"type": "object", "properties": {
        "town": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}, "when": {"type": "object", "properties": {"day": {"type": "integer"}, "any": {}}}}}}}]
    conversations = {
        "plain": {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True},
        "system": {"messages": [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "<think>x</think>\n\nHello é"}], "add_generation_prompt": False},
        "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}], "add_generation_prompt": True},
        "tools": {"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"town": "Ålesund", "unit": "C"}}}]}, {"role": "tool", "content": "rain"}], "add_generation_prompt": True, "tools": tools},
        "refused": {"messages": [{"role": "assistant", "content": "Hi"}], "add_generation_prompt": True},
    }
    source = (FOLDER / "example.jinja").read_text()
    results = {}
    for name, variables in conversations.items():
        variables = {"tools": None, "bos_token": "<s>", **variables}
        results[name] = {"variables": variables, **rendered(env, source, variables)}
    (FOLDER / "example.json").write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
