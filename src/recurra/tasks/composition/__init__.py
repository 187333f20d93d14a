"""What sounds next: the `Composer`, notes that sound together, generation and accompaniment."""
