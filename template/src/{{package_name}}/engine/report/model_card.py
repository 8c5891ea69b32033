# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The model card of a run, in the layout of the Hugging Face hub."""

import json


def model_card(name: str, run: dict, metrics: dict[str, float]) -> str:
    """Return a model card in Hugging Face's layout, with sections to complete by hand."""
    config, examples = run["config"], run["dataset"]["examples"]
    rows = "\n".join(
        f"| {split} | {examples[split]} "
        f"| {metrics[f'{key}_accuracy']:.4f} | {metrics[f'{key}_loss']:.4f} |"
        for split, key in (("validation", "val"), ("test", "test"))
    )
    return f"""---
library_name: keras
tags: [image-classification]
model-index:
- name: {json.dumps(name)}
  results:
  - task: {{type: image-classification}}
    dataset: {{name: {json.dumps(config["data"])}, type: {json.dumps(config["data"])}, split: test}}
    metrics:
    - {{type: accuracy, value: {metrics["test_accuracy"]:.4f}}}
---
# {name}

A `{config["model"]}` network that tells {len(run["dataset"]["classes"])} classes of images apart.

## Intended use
To be written by the people who know where it will be used, and where it must not be.

## Training
{examples["train"]} images of `{config["data"]}`, {config["precision"]},
batches of {config["batch_size"]}, with {run["device"]}.
Git commit: {run["git_commit"] or "none"}. All settings are in `config.json`.

## Evaluation
| split | examples | accuracy | loss |
|---|---|---|---|
{rows}

The epoch was chosen by the validation loss; nothing was chosen by the test split.

## Limits
Measured on the test split alone. `report.html` shows the confusions and the worst mistakes.
"""
