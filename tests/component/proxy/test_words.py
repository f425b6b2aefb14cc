"""A customer reads what the vendor wrote: in the body in its own letters, in the status line in ASCII."""

from __future__ import annotations

from pathlib import Path

from tests.support.gate import APP, license_, registry, running

REASON = 'Rechnung 77 – "ärger", l\'accès'


async def test_a_suspension_is_told_in_the_letters_of_the_vendor(tmp_path: Path) -> None:
    document = license_("acme", suspended={"reason": REASON})
    async with running(tmp_path, registry("upstream", "registry.test"), document) as gate:
        answer = await gate.until_status(f"/v2/proxy/{APP}/upstream/my-org/api/tags/list", gate.key("acme"), 403)
    assert answer.message == f"license acme is suspended: {REASON}; settle it with the vendor"
    assert 'Rechnung 77 – \\"ärger\\", l'.encode() in answer.body
    assert answer.reason == "Forbidden: license acme is suspended: Rechnung 77 - arger , l'acces"
