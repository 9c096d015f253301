"""Where the processes of a run can be reached."""

from __future__ import annotations

from tests.flows.conftest import EmbeddedRun


def test_s08_a_run_listens_on_this_machine_only(embedded_run: EmbeddedRun) -> None:
    """The API of the run is on 127.0.0.1; urllib3 tries `::1` to learn whether there is IPv6."""
    addresses = set((embedded_run.folder / "noted" / "listening").read_text().split())

    assert "127.0.0.1" in addresses
    assert addresses <= {"127.0.0.1", "::1"}
