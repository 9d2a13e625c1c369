"""The REST API, served beside the pages: bearer tokens alone, JSON, errors as problem details (RFC 9457).

Each topic registers its own paths (topics/registry.py); errors have one form (kit/problems.py); the OpenAPI document is
made from the very functions that answer.
"""
