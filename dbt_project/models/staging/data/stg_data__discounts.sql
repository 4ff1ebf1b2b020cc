{{ mapped_rows('discount') }}
