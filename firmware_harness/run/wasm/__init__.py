"""Programs that run WebAssembly images, each in one runtime; build/targets.py names them."""
