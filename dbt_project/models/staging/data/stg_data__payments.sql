{{ mapped_rows('payment') }}
