"""`noctuary lineage`: why a design exists, back to papers, trials and human designs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import (
    console,
    find_record,
    json_option,
    lab_option,
    open_lab,
    print_json,
)
from noctuary.errors import UsageError

if TYPE_CHECKING:
    from rich.tree import Tree

    from noctuary.archive import Archive

Node = dict[str, Any]


@click.command("lineage")
@click.argument("record", metavar="ID")
@lab_option
@json_option
def command(record: str, lab_path: Path | None, as_json: bool) -> None:
    """Show the gap, findings, insights, papers and parents that a design came from.

    ID is a design's id, the beginning of it, or its name.
    """
    _, archive = open_lab(lab_path)
    kind, identity = find_record(archive, record)
    if kind != "candidate":
        raise UsageError(
            f"{record!r} is a {kind}; expected a design or a human candidate: "
            f"`noctuary show {identity}` shows it"
        )
    root = Genealogy(archive).candidate(identity)
    if as_json:
        print_json(root)
    else:
        console().print(_tree(root), soft_wrap=True)


class Genealogy:
    """The records of an archive by id, read once, and the trees that they form.

    A record that was already shown is not opened again, so that shared parents stay short.
    """

    def __init__(self, archive: "Archive") -> None:
        def by_id(table: str, key: str) -> dict[str, Node]:
            return {row[key]: row for row in archive.records(table)}

        self._candidates = by_id("candidates", "candidate_id")
        self._designs = by_id("designs", "design_id")
        self._gaps = by_id("gaps", "gap_id")
        self._findings = by_id("findings", "finding_id")
        self._insights = by_id("insights", "insight_id")
        self._papers = by_id("papers", "paper_id")
        self._opened: set[str] = set()

    def candidate(self, identity: str) -> Node:
        design = self._designs.get(identity)
        known = self._candidates.get(identity)
        if known is not None and known["kind"] == "human":
            return _node("human", identity, known["name"])
        if design is None:
            return _node("unknown", identity, known["name"] if known else "not in the archive")
        if identity in self._opened:
            return _node("design", identity, f"{design['name']} (see above)")
        self._opened.add(identity)
        children = [self._gap(design["gap_id"])]
        asked = self._gaps.get(design["gap_id"], {}).get("findings", [])
        children += [self._finding(item) for item in design["findings"] if item not in asked]
        children += [{**self.candidate(item), "role": "parent"} for item in design["parents"]]
        text = f"{design['name']}, cycle {design['cycle']}, by {design['operator']}"
        return _node("design", identity, text, children)

    def _gap(self, identity: str) -> Node:
        gap = self._gaps.get(identity)
        if gap is None:
            return _node("gap", identity, "not in the archive")
        if identity in self._opened:
            return _node("gap", identity, f"{gap['question']} (see above)")
        self._opened.add(identity)
        children = [{**self._finding(item), "role": "finding"} for item in gap["findings"]]
        children += [{**self._insight(item), "role": "for"} for item in gap["evidence_for"]]
        children += [{**self._insight(item), "role": "against"} for item in gap["evidence_against"]]
        return _node("gap", identity, gap["question"], children)

    def _insight(self, identity: str) -> Node:
        insight = self._insights.get(identity)
        if insight is None:
            return _node("insight", identity, "not in the archive")
        evidence = insight["evidence"]
        if evidence.startswith("finding:"):
            source = self._finding(evidence.removeprefix("finding:"))
        else:
            paper = self._papers.get(evidence)
            text = f"{paper['title']} ({paper['year']})" if paper else "not in the archive"
            source = _node("paper", evidence, text)
        return _node("insight", identity, insight["statement"], [source])

    def _finding(self, identity: str) -> Node:
        finding = self._findings.get(identity)
        if finding is None:
            return _node("finding", identity, "not in the archive")
        return _node("finding", identity, f"cycle {finding['cycle']}: {finding['statement']}")


def _node(kind: str, identity: str, text: str, children: list[Node] | None = None) -> Node:
    return {"kind": kind, "id": identity, "text": text, "children": children or []}


def _tree(node: Node, branch: "Tree | None" = None) -> "Tree":
    from rich.text import Text
    from rich.tree import Tree

    role = f"{node['role']}: " if "role" in node and node["role"] != node["kind"] else ""
    label = Text(f"{role}{node['kind']} {node['id']}  {node['text']}")
    grown = Tree(label) if branch is None else branch.add(label)
    for child in node["children"]:
        _tree(child, grown)
    return grown
