"""What PyInstaller does not find by reading fastnn's Python: data, and what the compiled module imports."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

datas = collect_data_files("fastnn", includes=["data/*.npz", "include/*.h"])
hiddenimports = collect_submodules("fastnn", filter=lambda name: "__pyinstaller" not in name)
