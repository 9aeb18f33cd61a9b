"""Admission by webhooks: HTTPS servers that change a request's object, or refuse it.

``hooks`` makes configurations ready to be matched, ``matching`` finds those a request is for, ``review`` says what is
sent and what an answer means, ``call`` sends it, ``plugin`` puts these together: mutating webhooks one after the
other, validating ones side by side.
"""
