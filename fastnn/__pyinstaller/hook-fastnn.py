"""PyInstaller hook: adds fastnn's data files and the modules that the compiled extension imports."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

datas = collect_data_files("fastnn", includes=["data/*.npz", "include/*.h"])
hiddenimports = collect_submodules("fastnn", filter=lambda name: "__pyinstaller" not in name)
