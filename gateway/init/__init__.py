"""New projects, for ``gateway init``: the templates, which are real files, and what writes them.

``template``        the files of a template, by name
``django_project``  what a template has to know of a Django project
``ports``           addresses that are free here
``writing``         files into a folder, of which nothing is overwritten
"""
