"""The table of sub-commands: name, function, one line of help, and the extra that it needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One sub-command."""

    name: str  # one word, or two for a command inside a group
    target: str  # "module:function", below the package tinyscene
    summary: str
    extra: str = ""  # of pyproject.toml's optional dependencies
    opens_models: bool = False  # its parameter open_model is bound to MODEL_OPENER


# Runtime and firmware_harness import no file format; their commands get the function that opens every kind of model.
MODEL_OPENER = "export.formats.open_model:open_model"
COMMANDS = (
    Command(
        "doctor",
        "firmware_harness.commands.doctor:doctor",
        "List what works on this machine and how to install the rest.",
    ),
    Command(
        "demo",
        "export.commands.demo:demo",
        "Run the whole chain on synthetic data, or on yours with --data.",
        "export",
    ),
    Command(
        "data synth",
        "training.commands.data:synth",
        "Write a seeded synthetic data set in TAU22 layout.",
        "train",
    ),
    Command(
        "data cut",
        "training.commands.data:cut",
        "Cut your own recordings into clips in TAU22 layout.",
        "train",
    ),
    Command(
        "data check",
        "training.commands.data:check",
        "Validate a dataset folder and list every problem.",
        "train",
    ),
    Command(
        "train compare",
        "training.commands.train:train_compare",
        "Compare distillation methods at equal budget and seeds.",
        "train",
    ),
    Command(
        "train devices",
        "training.commands.train:train_devices",
        "Fine-tune a student for each device of the training split.",
        "train",
    ),
    Command("train", "training.commands.train:train", "Train the teachers and the student of a recipe.", "train"),
    Command(
        "recipe dry-run",
        "export.commands.recipe:dry_run",
        "Run every stage briefly and estimate the cost on TAU22.",
        "export",
    ),
    Command("recipe fit", "training.commands.recipe:fit", "Find student sizes that fit a budget.", "train"),
    Command(
        "teachers train",
        "training.commands.teachers:teachers_train",
        "Train the teachers of a recipe only.",
        "train",
    ),
    Command(
        "teachers logits",
        "training.commands.teachers:teachers_logits",
        "Write the logits of trained teachers for every clip.",
        "train",
    ),
    Command(
        "eval",
        "training.commands.evaluate:evaluate",
        "Evaluate a checkpoint or bundle by class, device and city.",
        "train",
    ),
    Command(
        "import",
        "export.commands.import_model:import_checkpoint",
        "Import a checkpoint, a float ONNX file or your own network.",
        "export",
    ),
    Command(
        "export",
        "export.commands.export_model:export",
        "Quantise a checkpoint to int8 and write a bundle.",
        "export",
    ),
    Command(
        "check",
        "export.commands.check:check",
        "Check a model against size and MAC limits.",
        "export",
    ),
    Command(
        "inspect",
        "export.commands.inspect:inspect",
        "Show a model layer by layer, as a table, JSON or a picture.",
        "export",
    ),
    Command(
        "verify",
        "export.commands.verify:verify",
        "Compare the outputs of every target with the integer graph.",
        "export",
    ),
    Command(
        "quality", "export.commands.quality:quality", "Measure the quantisation error of every activation.", "export"
    ),
    Command("npu", "export.commands.npu:npu", "Estimate cycles and memory on Arm Ethos-U NPUs.", "npu"),
    Command(
        "run",
        "runtime.commands:run",
        "Classify audio from files, a pipe, a microphone or a folder.",
        opens_models=True,
    ),
    Command(
        "bench compare",
        "runtime.commands:bench_compare",
        "Compare two benchmark records, allowing for noise.",
    ),
    Command(
        "bench",
        "runtime.commands:bench",
        "Measure latency, memory, temperature and energy of a model.",
        opens_models=True,
    ),
    Command(
        "firmware export",
        "firmware_harness.commands.ship:export",
        "Write a model as a folder for a build system or an IDE.",
        "firmware",
        opens_models=True,
    ),
    Command(
        "firmware serial",
        "firmware_harness.commands.ship:serial",
        "Emulate a board for the MLPerf Tiny runner.",
        "firmware",
        opens_models=True,
    ),
    Command(
        "firmware",
        "export.commands.firmware:firmware",
        "Emit C for a model, build it, run it and compare every byte.",
        "firmware",
    ),
    Command(
        "page",
        "firmware_harness.commands.page:page",
        "Write a web page that runs a model in the browser.",
        "firmware",
        opens_models=True,
    ),
    Command(
        "flash",
        "firmware_harness.commands.ship:flash",
        "Flash an image onto a board with a debug probe.",
        "flash",
    ),
)
# A name that is a command as well, such as firmware, is a group when the very next word names one of its sub-commands.
GROUPS = {
    "bench": "Measure a model.",
    "data": "Write, cut and validate data sets.",
    "firmware": "Build firmware of a model.",
    "recipe": "Estimate the cost of a recipe and choose its student's size.",
    "teachers": "Train teachers and write their logits.",
    "train": "Train networks.",
}
