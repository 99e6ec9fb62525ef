"""Files as `make lab` opens them: a notebook that was only opened does not count as changed."""

from ipykernel.ipkernel import IPythonKernel
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager


class Contents(AsyncLargeFileManager):
    """Gives notebooks the name of the kernel and the version of Python, which else JupyterLab writes into them."""

    async def get(self, *args, **options):
        model = await super().get(*args, **options)
        metadata = (model["content"] or {}).get("metadata", {}) if model["type"] == "notebook" else {}
        if metadata.get("kernelspec", {}).get("name") == "python3":
            spec = self.parent.kernel_spec_manager.get_kernel_spec("python3")
            metadata["kernelspec"] = {"name": "python3", "display_name": spec.display_name, "language": spec.language}
            metadata["language_info"] = dict(IPythonKernel.language_info)
        return model
