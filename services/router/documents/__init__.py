"""The API described: an OpenAPI document of this very file's workflows, and a page that shows it and tries it."""

from services.router.documents.door import Documents

__all__ = ["Documents"]
