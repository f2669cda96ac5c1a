"""The task scope: calls of functions that code has put into the store, and that the gateway runs from there.

``events``    what an application may send
``router``    routes by queue or by the task's name
``records``   what came of the attempts, as the store keeps it
``delivery``  one attempt from the store
``queue``     how code puts tasks into the store, in the gateway's process and in others
``kind``      all of it in one object
"""
