"""Webhooks: requests that are verified, stored and answered 202, and handled from the store.

A *scheme* (:mod:`.scheme`) verifies the signature of a request; a file for each. The *policy* (:mod:`.policy`) of a
route says which scheme it is. The *identity* (:mod:`.identity`) of a request tells a repetition from a new one. The
*receiver* (:mod:`.receiver`) stands before the route's application, and answers.
"""
