"""The commands that work on the store: ``dead``, ``outgoing``, ``waiting``, ``show``. Of the file they read the key
``store`` only, and they work whether or not the gateway runs."""
