"""Data, networks, teachers, distillation and evaluation."""

if __name__ != "tinyscene.training":
    raise ImportError("training is imported as tinyscene.training", name=__name__)
