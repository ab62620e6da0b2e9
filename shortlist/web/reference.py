"""The OpenAPI description as one page that needs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def reference_page(api: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document: every path, what it takes and gives, and every model."""
    return "\n".join(_lines(api))


def _lines(api: Mapping[str, Any]) -> Iterator[str]:
    title = escape(f"{api['info']['title']} {api['info']['version']}: the API")
    yield "<!doctype html><html lang=en><head><meta charset=utf-8>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'>"
    yield f"<title>{title}</title><link rel=stylesheet href=/style.css></head>"
    yield f"<body class=reference><main><h1>{title}</h1>"
    yield f"<p>{escape(api['info'].get('description', ''))} "
    yield "As a document for machines: <a href=/api/openapi.json>openapi.json</a>.</p>"
    for path, methods in api["paths"].items():
        for method, one in methods.items():
            yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
            yield f"<p>{escape(one.get('description', ''))}</p>"
            if one.get("parameters"):
                yield from _table(
                    {p["name"]: {**p["schema"], **p} for p in one["parameters"]},
                    {p["name"] for p in one["parameters"] if p.get("required")},
                )
            if "requestBody" in one:
                taken = one["requestBody"]["content"]["application/json"]["schema"]
                yield f"<p>takes {_kind(taken)}</p>"
            for status, answer in one["responses"].items():
                content = answer.get("content", {}).get("application/json", {}).get("schema")
                kind = f": {_kind(content)}" if content else ""
                yield f"<p><code>{escape(status)}</code> {escape(answer['description'])}{kind}</p>"
    for name, model in api["components"]["schemas"].items():
        yield f"<h2 id='{escape(name)}'>{escape(name)}</h2>"
        yield f"<p>{escape(model.get('description', ''))}</p>"
        yield from _table(model.get("properties", {}), set(model.get("required", [])))
    yield "</main></body></html>"


def _table(fields: Mapping[str, Mapping[str, Any]], required: set[str]) -> Iterator[str]:
    yield "<table tabindex=0><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr>"
    for name, field in fields.items():
        default = "" if name in required else str(field.get("default", ""))
        yield (
            f"<tr><td><code>{escape(name)}</code></td><td>{_kind(field)}</td>"
            f"<td>{escape(default)}</td><td>{escape(field.get('description', ''))}</td></tr>"
        )
    yield "</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_kind(schema['items'])}"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in {
            "minimum": "≥",
            "maximum": "≤",
            "minLength": "length ≥",
            "maxLength": "length ≤",
        }.items()
        if key in schema
    ]
    return escape(" ".join([str(schema.get("const", schema.get("type", "any"))), *limits]))
