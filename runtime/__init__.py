"""The integer graph, its arithmetic, the front end, engines, bundles and classification; needs no PyTorch."""

if __name__ != "tinyscene.runtime":
    raise ImportError("runtime is imported as tinyscene.runtime", name=__name__)
