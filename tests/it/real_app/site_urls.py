"""Django's admin, and four pages that tell what arrived."""

import hashlib
import threading

from django.contrib import admin
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

PATIENCE = 30
PERMITS = threading.Semaphore(0)


def seen(request):
    """What the site makes of the request; sets one cookie of its own and one for advertising."""
    answer = JsonResponse(
        {
            "cookie": request.META.get("HTTP_COOKIE", ""),
            "read": request.COOKIES,
            "user": request.user.get_username(),
            "secure": request.is_secure(),
            "host": request.get_host(),
            "absolute": request.build_absolute_uri(),
            "forwarded_for": request.META.get("HTTP_X_FORWARDED_FOR"),
            "forwarded": request.META.get("HTTP_FORWARDED"),
            "consent": request.META.get("HTTP_KELISIM_CONSENT"),
        }
    )
    answer.set_cookie("seen", "yes, \"once\"", samesite="Lax")
    answer.set_cookie("_gcl_au", "1.1.set-by-the-site", max_age=7776000)
    return answer


@csrf_exempt
def upload(request):
    """Size and SHA-256 of a body or of the file in a form; with `?wait`, read only once there is a permit."""
    if "wait" in request.GET:
        PERMITS.acquire(timeout=PATIENCE)
    name = None
    if request.method == "POST":
        file = request.FILES["file"]
        name, pieces = file.name, file.chunks()
    else:
        pieces = iter(lambda: request.read(64 * 1024), b"")
    size, digest = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        digest.update(piece)
    return JsonResponse({"bytes": size, "sha256": digest.hexdigest(), "name": name})


def events(request):
    """Server-sent events: the first at once, each further one for a permit."""

    def stream():
        for number in range(1, 6):
            yield f"id: {number}\ndata: event {number}\n\n"
            if not PERMITS.acquire(timeout=PATIENCE):
                return

    answer = StreamingHttpResponse(stream(), content_type="text/event-stream")
    answer["Cache-Control"] = "no-cache"
    return answer


def permit(request):
    """Lets whoever waits go on."""
    PERMITS.release()
    return HttpResponse("go on")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("seen", seen),
    path("upload", upload),
    path("events", events),
    path("permit", permit),
]
