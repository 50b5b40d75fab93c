"""What is worth an alert, and telling it: rules, what they make of the newest runs, messages, receivers.

Knows neither TestGen nor where anything is kept: facts come in, alerts and messages go out.
"""
