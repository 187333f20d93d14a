"""What recurra's estimators answer on data whose answers are known: `python -m benchmarks.answers [NAME...]`.

A file of this folder has one row of the table: how its data are read, as a user would read them, a naive answer, a
simple one (a linear model or gradient boosting by scikit-learn), ours, and what has been published. Every row keeps the
split that its field uses, and the test part is looked at once, by whoever runs the command. All other choices, ours and
those of the simple models, were made on parts of the training data.
"""
