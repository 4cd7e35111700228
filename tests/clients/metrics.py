"""Reads the file of Prometheus text that is named by the argument with the reference parser and writes it as JSON: samples by name and labels.

Fails when a family comes twice, has no help or no type, when a sample is written twice, or when buckets do not add up.
"""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
declared = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")]
assert len(declared) == len(set(declared)), "a family comes twice"
helped = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# HELP ")]
assert helped == declared, "each family has its HELP before its TYPE"

samples = {}
for family in text_string_to_metric_families(text):
    assert family.type in ("counter", "gauge", "histogram"), family
    assert family.documentation, family
    buckets = []
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        key = f"{sample.name}{{{labels}}}" if labels else sample.name
        assert key not in samples, f"{key} is written twice"
        samples[key] = sample.value
        if family.type == "counter":
            assert sample.name.endswith("_total"), sample
        if sample.name.endswith("_bucket"):
            buckets.append((float(sample.labels["le"]), sample.value))
    if family.type == "histogram":
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), buckets
        counts = [count for _, count in buckets]
        assert counts == sorted(counts), f"the buckets of {family.name} do not add up"
        assert counts[-1] == samples[family.name + "_count"], family.name
        total = samples[family.name + "_sum"]
        assert total >= 0 and (total == 0 or counts[-1] > 0), family.name

lines = [line for line in text.splitlines() if not line.startswith("#")]
assert len(lines) == len(samples), "the parser has left samples out"
json.dump(samples, sys.stdout)
