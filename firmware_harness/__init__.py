"""C for an integer graph: emission, builds, emulation and exported products."""

if __name__ != "tinyscene.firmware_harness":
    raise ImportError("firmware_harness is imported as tinyscene.firmware_harness", name=__name__)
