"""PyInstaller hook: adds fastnn's data files and the modules that the compiled extension imports."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

datas = collect_data_files("fastnn", includes=["data/*.npz", "include/*.h"])
# fastnn.sklearn is packed with the programs that import it; it brings scikit-learn.
_APART = "fastnn.__pyinstaller", "fastnn.sklearn"
hiddenimports = collect_submodules("fastnn", filter=lambda name: not name.startswith(_APART))
