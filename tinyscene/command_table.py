"""Every sub-command: its name, the function behind it, its line in the help, and the extra it needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One row of the table: what the user types, the function behind it, and the extra it needs."""

    name: str  # one word, or two for a command inside a group
    target: str  # "module:function"
    summary: str
    extra: str = ""  # the optional dependencies of pyproject.toml, as pip takes them
    tflite: str = ""  # "module:function" that takes over when the model is a .tflite file


COMMANDS = (
    Command(
        "doctor",
        "firmware_harness.commands.firmware:doctor",
        "Say what works here, and what to install for the rest.",
    ),
    Command(
        "demo",
        "export.commands.models:demo",
        "The whole chain on made-up data, or on yours with --data.",
        "export",
    ),
    Command(
        "data synth",
        "training.commands.data:synth",
        "Write a seeded set of synthetic scenes in the layout of TAU22.",
        "train",
    ),
    Command(
        "data cut",
        "training.commands.data:cut",
        "Your own recordings, cut into clips in the layout of TAU22.",
        "train",
    ),
    Command(
        "data check",
        "training.commands.data:check",
        "Everything that is wrong with a folder of clips.",
        "train",
    ),
    Command(
        "train compare",
        "training.commands.train:train_compare",
        "Ways to teach a student in one table, at equal budget and seeds.",
        "train",
    ),
    Command(
        "train devices",
        "training.commands.train:train_devices",
        "Train a student on for each device of the training part.",
        "train",
    ),
    Command("train", "training.commands.train:train", "Train teachers and distil a student by a recipe.", "train"),
    Command(
        "recipe dry-run",
        "export.commands.models:dry_run",
        "Try every stage of a recipe, and say what it costs on TAU22.",
        "export",
    ),
    Command("recipe fit", "training.commands.recipe:fit", "Sizes of a student that fill a budget.", "train"),
    Command(
        "teachers train",
        "training.commands.teachers:teachers_train",
        "Train a recipe's teachers alone.",
        "train",
    ),
    Command(
        "teachers logits",
        "training.commands.teachers:teachers_logits",
        "Write what trained teachers say of every clip.",
        "train",
    ),
    Command(
        "eval",
        "training.commands.evaluate:evaluate",
        "Accuracy of a checkpoint or a bundle, by class, device and city.",
        "train",
    ),
    Command(
        "import",
        "export.commands.models:import_checkpoint",
        "Take over a published CP-Mobile checkpoint.",
        "export",
    ),
    Command(
        "export",
        "export.commands.models:export",
        "Quantise a checkpoint to int8 and write a bundle.",
        "export",
    ),
    Command(
        "check",
        "export.commands.check:check",
        "Hold a model against a budget of bytes and MACs, layer by layer.",
        "export",
    ),
    Command("verify", "export.commands.verify:verify", "Prove that every target computes the same.", "export"),
    Command("quality", "export.commands.models:quality", "What 8 bits cost, activation by activation.", "export"),
    Command("npu", "export.commands.models:npu", "Estimate cycles and memory on Arm Ethos-U.", "npu"),
    Command("run", "runtime.commands:run", "Classify audio: files, a pipe, a microphone, a folder."),
    Command(
        "bench compare",
        "runtime.commands:bench_compare",
        "Tell two benchmark records apart, or say that noise forbids it.",
    ),
    Command("bench", "runtime.commands:bench", "Measure a bundle here: latency, memory, heat, energy."),
    Command(
        "firmware export",
        "firmware_harness.commands.ship:export",
        "A model as a folder for CMake, Make, Arduino, Zephyr, CMSIS-Pack or PlatformIO.",
        "firmware",
    ),
    Command(
        "firmware serial",
        "firmware_harness.commands.ship:serial",
        "An emulated board that the MLPerf Tiny runner can drive.",
        "firmware",
    ),
    Command(
        "firmware",
        "firmware_harness.commands.firmware:firmware",
        "C for a model: emitted, built, run and compared.",
        "firmware",
        tflite="export.commands.models:firmware_of_tflite",
    ),
    Command(
        "flash",
        "firmware_harness.commands.ship:flash",
        "Write an image into a board through a debug probe.",
        "flash",
    ),
)
# A name that is a command too, such as firmware, is a group when the next word names one of its commands.
GROUPS = {
    "bench": "Measure a bundle.",
    "data": "Make and look at data sets.",
    "firmware": "A model on a microcontroller.",
    "recipe": "What a training run is made of.",
    "teachers": "What a student learns from.",
    "train": "Train networks.",
}
