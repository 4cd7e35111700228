"""flask: a usual view: a route with a parameter, an argument, a cookie, and a page of two templates with a table."""

from flask import Flask, Response, render_template, request

application = Flask(__name__, template_folder="templates/flask_site")

ORDERS = [{"number": 1000 + at, "customer": f"Customer <{at}>", "total": at * 9.99} for at in range(20)]


@application.get("/customers/<int:customer>/orders")
def orders(customer):
    return render_template(
        "orders.html",
        customer=customer,
        orders=ORDERS,
        page=request.args.get("page", 1, type=int),
        theme=request.cookies.get("theme", "light"),
    )


closes = []


@application.get("/closed")
def closed():
    response = Response(str(len(closes)))
    response.call_on_close(lambda: closes.append(response.status_code))
    return response
