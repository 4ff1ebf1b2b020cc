{{ mapped_rows('refund') }}
