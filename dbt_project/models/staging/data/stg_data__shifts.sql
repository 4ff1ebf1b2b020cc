{{ mapped_rows('shift') }}
