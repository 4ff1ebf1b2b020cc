{{ mapped_rows('sale_item') }}
