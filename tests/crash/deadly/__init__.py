"""An app that kills its worker process at the point that ``DEADLY_POINT`` names."""
