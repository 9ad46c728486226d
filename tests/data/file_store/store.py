"""A dynamic provider whose resources are files: what it did can be seen on disk."""

import os
import pathlib
import time

from pulumi import dynamic


def _note(folder, line):
    with (pathlib.Path(folder) / "journal").open("a") as journal:
        journal.write(line + "\n")


class FileProvider(dynamic.ResourceProvider):
    """Keeps one file per resource; `fail` makes it fail, `slow` and `gate` make it take its time.

    A *gate* is the name of a file that somebody has to make before the create ends.
    """

    def create(self, props):
        """Write the file; writing it again is harmless."""
        _note(props["folder"], f"create {props['file']}")
        path = pathlib.Path(props["folder"]) / props["file"]
        if props.get("fail"):
            raise RuntimeError("told to fail")
        path.write_text(str(props["text"]))
        time.sleep(props.get("slow") or 0)
        while props.get("gate") and not (path.parent / props["gate"]).exists():
            time.sleep(0.01)
        return dynamic.CreateResult(str(path), {**props, "size": path.stat().st_size})

    def diff(self, _id, olds, news):
        """Another folder or file name is another file."""
        changed = any(olds.get(key) != news.get(key) for key in ("folder", "file", "text", "fail"))
        replaces = [key for key in ("folder", "file") if olds.get(key) != news.get(key)]
        lost = bool(news.get("watched")) and not pathlib.Path(_id).exists()
        result = dynamic.DiffResult(
            changes=changed or lost,
            replaces=replaces,
            delete_before_replace=bool(news.get("delete_first")),
        )
        result.reasons = ["the file is gone"] if lost else []
        return result

    def update(self, id, olds, props):  # noqa: A002 - the SDK's name
        """Write the new text."""
        _note(props["folder"], f"update {props['file']}")
        if props.get("fail"):
            raise RuntimeError("told to fail")
        pathlib.Path(id).write_text(str(props["text"]))
        return dynamic.UpdateResult({**props, "size": os.stat(id).st_size})  # noqa: PTH116

    def delete(self, id, props):  # noqa: A002 - the SDK's name
        """Remove the file."""
        _note(props["folder"], f"delete {props['file']}")
        pathlib.Path(id).unlink(missing_ok=True)

    def read(self, id, props):  # noqa: A002 - the SDK's name
        """Look at the file."""
        path = pathlib.Path(id)
        if not path.exists():
            return dynamic.ReadResult("", {})
        return dynamic.ReadResult(id, {**props, "text": path.read_text()})


class File(dynamic.Resource):
    """A file in a folder."""

    def __init__(self, name, folder, text, opts=None, **more):
        given = {"folder": folder, "file": f"{name}.txt", "text": text, "size": None, **more}
        super().__init__(FileProvider(), name, given, opts)
