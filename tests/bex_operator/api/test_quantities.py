"""Amounts are written as the API server writes them."""

import pytest

from bex_operator.api import quantities


@pytest.mark.parametrize(
    ("given", "stored"),
    [("1", "1"), ("0.5", "500m"), ("1000m", "1"), ("1.125", "1125m"), ("0", "0"), ("250m", "250m")],
)
def test_cpu_is_canonical(given: str, stored: str) -> None:
    """Whole cores without a suffix, everything else in thousandths."""
    assert quantities.cpu(given) == stored


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("512Mi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("1000k", "1M"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1500M", "1500M"),
        ("0Gi", "0"),
        ("2048Gi", "2Ti"),
        ("1024Ti", "1Pi"),
    ],
)
def test_memory_is_canonical(given: str, stored: str) -> None:
    """The largest suffix that leaves no rest, of the base that was given."""
    assert quantities.memory(given) == stored


def test_amounts_compare_across_suffixes() -> None:
    """1Gi is more than 1G."""
    assert quantities.bytes_of("1Gi") > quantities.bytes_of("1G")
    assert quantities.millicores("0.25") == quantities.millicores("250m")
