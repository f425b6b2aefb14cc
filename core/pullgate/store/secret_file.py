"""A Pullgate Secret as a file: YAML that `kubectl apply` takes and a person can read."""

from __future__ import annotations

import base64
import contextlib

import yaml

from pullgate.resources.fields import is_label, is_subdomain
from pullgate.store.port import Document, Key


def secret_path(key: Key) -> str:
    """The file, relative to the folder of Secrets. Raises ValueError for a name that is none."""
    if not is_label(key.namespace) or not is_subdomain(key.name):  # they become a path
        raise ValueError("the name of a Secret is no name")
    return f"{key.namespace}/{key.name}.yaml"


def secret_key(path: str) -> Key | None:
    """The Secret that the file at `path` is for; None for a stray file."""
    namespace, _, file = path.partition("/")
    name = file.removesuffix(".yaml")
    return Key("Secret", namespace, name) if name != file and is_label(namespace) and is_subdomain(name) else None


def encode_secret(document: Document) -> str:
    """The file's text: values that are text stand in plain under stringData."""
    plain, encoded = {}, {}
    for name, value in document.get("data", {}).items():
        encoded[name] = value
        with contextlib.suppress(UnicodeDecodeError):
            plain[name] = base64.b64decode(value).decode("utf-8")
            del encoded[name]
    body = {k: v for k, v in document.items() if k != "data"}
    body |= {"data": encoded} if encoded else {}
    body |= {"stringData": plain} if plain else {}
    return yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def same_secret(before: Document | None, after: Document) -> bool:
    """True if applying `after` would change nothing."""
    return before is not None and all(before.get(part) == after.get(part) for part in ("type", "data", "metadata"))


class _Dumper(yaml.SafeDumper):
    """Several lines as a block, so that they can be read and copied."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A str."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text.strip() else None)


_Dumper.add_representer(str, _Dumper.represent_text)
