"""What each worker program reports, as typed records; written by the worker as JSON, validated by the caller."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TfliteRecord:
    """A .tflite file was run; ``version`` of the package."""

    version: str


@dataclass(frozen=True)
class TosaRecord:
    """A .tflite file was converted to TOSA and run; versions of the packages."""

    converter: str
    tools: str


@dataclass(frozen=True)
class WebRecord:
    """A file was run by an engine of web pages; versions of its package and of Node.js."""

    version: str
    node: str


@dataclass(frozen=True)
class HexagonRecord:
    """An .onnx file was compiled for Hexagon and simulated."""

    version: str  # of onnxruntime-qnn
    architecture: str
    compiled_bytes: int


@dataclass(frozen=True)
class EngineRecord:
    """An engine of the runtime ran; ``version`` and ``package`` are the engine's."""

    machine: str  # as the kernel names it
    package: str
    version: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ConverterRecord:
    """TensorFlow converted the network; ``version`` of TensorFlow."""

    version: str


@dataclass(frozen=True)
class CoremlRecord:
    """coremltools converted the network, and the package was read back."""

    version: str  # of coremltools
    package_bytes: int
    operations: int  # without constants
    quantised: int  # activations
    weights: int  # codes in the package
    weights_different: int  # of these, codes that are not the graph's


Record = TfliteRecord | TosaRecord | WebRecord | HexagonRecord | EngineRecord | ConverterRecord | CoremlRecord
