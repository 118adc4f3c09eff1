"""The example for Prometheus asks for metrics that there are; the operations page explains every alert."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from api import metric_families

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
EVERY = metric_families.every_family()
FAMILIES = {family.name: family for family in (*EVERY.store, *EVERY.process)}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


RULES = [rule for group in read("alerts.yml")["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    asked = re.findall(r"\b(impasto_\w+)(?:\{([^}]*)\})?", rule["expr"])
    assert asked or rule["expr"].startswith("up{")
    labels: set[str] = set()
    for name, matchers in asked:
        family = FAMILIES[name.removesuffix("_total")]
        assert name.endswith("_total") == (family.type == "counter"), name
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= set(metric_families.labels_of(family))
        labels.update(metric_families.labels_of(family))
    for by in re.findall(r"by \(([^)]*)\)", rule["expr"]):
        assert {one.strip() for one in by.split(",")} <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_here_and_on_the_page(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"].endswith(".")
    assert f"`{rule['alert']}`" in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_a_sum_is_never_taken_of_what_every_process_tells_alike() -> None:
    of_store = {family.name for family in EVERY.store}
    summed = set()
    for rule in RULES:
        for name in re.findall(r"\b(?:sum|avg)(?: by \([^)]*\) )?\((?:\w+\()?(impasto_\w+)", rule["expr"]):
            assert re.sub(r"_total$", "", name) not in of_store, rule["alert"]
            summed.add(name)
    assert summed, "sums are recognised"


def test_the_example_brings_the_token_and_reads_the_rules() -> None:
    config = read("prometheus.yml")
    assert config["rule_files"] == ["alerts.yml"]
    [scrape] = config["scrape_configs"]
    assert scrape["metrics_path"] == "/metrics"
    assert scrape["authorization"]["type"] == "Bearer"
