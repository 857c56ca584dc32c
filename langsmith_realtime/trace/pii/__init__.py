"""Change here what the ready redactor ``pii`` finds: card numbers, phone numbers, e-mail addresses and IBANs."""
