from tests.commands.init.conftest import source, write_file

__all__ = ["source", "write_file"]
