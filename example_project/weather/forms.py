"""The form for uploading a weather file."""

from __future__ import annotations

from django import forms
from django.core.files.uploadedfile import UploadedFile

from example_project.weather.rows import COLUMNS

LARGEST = 1024 * 1024


class UploadForm(forms.Form):
    """A CSV file. Its rows are checked by the workflow, not here: that may take a while."""

    file = forms.FileField(
        label="A CSV file",
        help_text=f"Columns: {', '.join(COLUMNS)}. At most 1 MB.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self) -> tuple[str, str]:
        """Return name and text of the file."""
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if file.size is None or file.size > LARGEST:
            raise forms.ValidationError("The file is larger than 1 MB.")
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError("The file is not text in UTF-8.") from None
        if "\0" in text:
            raise forms.ValidationError("The file holds NUL characters; it is not text.")
        if text.split("\n", 1)[0].strip() != ",".join(COLUMNS):
            raise forms.ValidationError(f"The first line must be {','.join(COLUMNS)}")
        return (file.name or "upload.csv")[:200], text
