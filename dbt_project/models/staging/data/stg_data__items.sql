{{ mapped_rows('item') }}
