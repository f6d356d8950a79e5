//! What an error page says to a person, in kk, ru and en.
//!
//! What happened and what they can do; never a cause, a version or a host name. Bound: the texts below.

use crate::error::{Fault, Reason};
use crate::pages::language::Language;

/// The words around the figures.
pub(super) struct Words {
    pub(super) code: &'static str,
    pub(super) id: &'static str,
}

pub(super) const fn words(language: Language) -> Words {
    match language {
        Language::Kk => Words { code: "Код", id: "Сұрау нөмірі" },
        Language::Ru => Words { code: "Код", id: "Номер запроса" },
        Language::En => Words { code: "Code", id: "Request id" },
    }
}

/// Title and advice for a person: what happened, and what they can do.
pub(super) fn sentence(reason: Reason, language: Language) -> (&'static str, &'static str) {
    let [kk, ru, en] = match reason {
        Reason::UnknownHost | Reason::NotInCertificate => MISDIRECTED,
        Reason::Throttled | Reason::RateLimited => THROTTLED,
        Reason::Denied | Reason::CrossSite => DENIED,
        Reason::BodyTooLarge => TOO_LARGE,
        Reason::UriTooLong | Reason::HeadTooLarge => HEAD_TOO_LARGE,
        Reason::BodyTimeout => STOPPED,
        Reason::HeadTimeout => LATE,
        Reason::MethodNotAllowed => METHOD,
        Reason::UnsupportedVersion => VERSION,
        Reason::UpstreamHeadTooLarge => ANSWER_TOO_LARGE,
        Reason::QueueFull | Reason::ClientShare | Reason::Draining | Reason::RecordFailed => BUSY,
        _ => match reason.fault() {
            Fault::Client => BAD_REQUEST,
            Fault::Site => SITE,
            Fault::Us => OURS,
        },
    };
    match language {
        Language::Kk => kk,
        Language::Ru => ru,
        Language::En => en,
    }
}

/// Title and advice in kk, ru, en.
type Texts = [(&'static str, &'static str); 3];

const BAD_REQUEST: Texts = [
    ("Сұрау түсініксіз", "Браузер жіберген сұрауды орындау мүмкін емес. Бетті жаңартып, қайталап көріңіз."),
    (
        "Запрос непонятен",
        "Запрос, который отправил браузер, выполнить нельзя. Обновите страницу и попробуйте ещё раз.",
    ),
    (
        "The request cannot be understood",
        "What the browser sent cannot be served. Reload the page and try again.",
    ),
];
const MISDIRECTED: Texts = [
    ("Мұнда ондай сайт жоқ", "Мекенжайдың дұрыс жазылғанын тексеріңіз."),
    ("Здесь нет такого сайта", "Проверьте, правильно ли написан адрес."),
    ("There is no such site here", "Check that the address is spelled correctly."),
];
const THROTTLED: Texts = [
    ("Сұраулар тым жиі", "Біраз күтіп, қайталап көріңіз."),
    ("Слишком много запросов", "Подождите немного и попробуйте ещё раз."),
    ("Too many requests", "Wait a little and try again."),
];
const DENIED: Texts = [
    (
        "Сұрау қабылданбады",
        "Сұрау қауіпсіздік ережелері бойынша қабылданбады. Бұл қате деп ойласаңыз, қолдау қызметіне төмендегі нөмірді айтыңыз.",
    ),
    (
        "Запрос отклонён",
        "Запрос отклонён по правилам безопасности. Если это ошибка, сообщите службе поддержки номер, указанный ниже.",
    ),
    (
        "The request was refused",
        "It was refused by the security rules. If you think that this is a mistake, give the number below to support.",
    ),
];
const TOO_LARGE: Texts = [
    ("Файл тым үлкен", "Сайт мұндай көлемді қабылдамайды. Кішірек файл жіберіп көріңіз."),
    ("Файл слишком большой", "Сайт не принимает такой объём. Попробуйте отправить файл поменьше."),
    ("The upload is too large", "The site does not accept this much data. Try a smaller file."),
];
const HEAD_TOO_LARGE: Texts = [
    (
        "Сұрау тым үлкен",
        "Мекенжай немесе cookie файлдары тым ұзын. Осы сайттың cookie файлдарын тазалап, қайталап көріңіз.",
    ),
    (
        "Запрос слишком большой",
        "Адрес или файлы cookie слишком длинные. Очистите файлы cookie этого сайта и попробуйте ещё раз.",
    ),
    (
        "The request is too large",
        "The address or the cookies are too long. Clear the cookies of this site and try again.",
    ),
];
const STOPPED: Texts = [
    ("Жіберу үзіліп қалды", "Деректер уақытында толық келмеді. Байланысты тексеріп, қайталап көріңіз."),
    ("Отправка прервалась", "Данные не пришли вовремя. Проверьте соединение и попробуйте ещё раз."),
    ("The upload stopped", "The data did not arrive in time. Check your connection and try again."),
];
const LATE: Texts = [
    ("Сұрау уақытында келмеді", "Байланысты тексеріп, қайталап көріңіз."),
    ("Запрос не пришёл вовремя", "Проверьте соединение и попробуйте ещё раз."),
    ("The request did not arrive in time", "Check your connection and try again."),
];
const METHOD: Texts = [
    (
        "Бұл әдіске қолдау жоқ",
        "Мұндай әдіспен жіберілген сұрауға жауап берілмейді. Мекенжайды браузерде ашыңыз.",
    ),
    (
        "Этот метод не поддерживается",
        "На запросы с таким методом здесь не отвечают. Откройте адрес в браузере.",
    ),
    (
        "This method is not served",
        "Requests with this method are not answered here. Open the address in a browser.",
    ),
];
const VERSION: Texts = [
    (
        "HTTP-дің бұл нұсқасына қолдау жоқ",
        "Сұрауды жіберген бағдарлама мұнда танылмайтын нұсқаны қолданады. Оны жаңартыңыз немесе басқасын пайдаланыңыз.",
    ),
    (
        "Эта версия HTTP не поддерживается",
        "Программа, которая отправила запрос, использует версию, которой здесь не понимают. Обновите её или возьмите другую.",
    ),
    (
        "This version of HTTP is not served",
        "The program that sent the request speaks a version that is not understood here. Update it or use another.",
    ),
];
const BUSY: Texts = [
    ("Сайт қазір бос емес", "Бірнеше секундтан кейін қайталап көріңіз."),
    ("Сайт сейчас перегружен", "Попробуйте ещё раз через несколько секунд."),
    ("The site is busy", "Try again in a few seconds."),
];
const SITE: Texts = [
    (
        "Сайт жауап бермеді",
        "Сайттың сервері қазір жауап бермей тұр. Сәл кейінірек қайталап көріңіз; қайталана берсе, қолдау қызметіне төмендегі нөмірді айтыңыз.",
    ),
    (
        "Сайт не ответил",
        "Сервер сайта сейчас не отвечает. Попробуйте чуть позже; если это повторится, сообщите службе поддержки номер, указанный ниже.",
    ),
    (
        "The site did not answer",
        "Its server is not responding at the moment. Try again a little later; if it happens again, give the number below to support.",
    ),
];
const ANSWER_TOO_LARGE: Texts = [
    (
        "Сайттың жауабы тым үлкен",
        "Сайт жіберген жауапты беру мүмкін емес: тақырыптары тым үлкен. Қолдау қызметіне төмендегі нөмірді айтыңыз.",
    ),
    (
        "Ответ сайта слишком большой",
        "Ответ сайта нельзя передать: его заголовки слишком велики. Сообщите службе поддержки номер, указанный ниже.",
    ),
    (
        "The site's answer is too large",
        "Its header is larger than what can be passed on. Give the number below to support.",
    ),
];
const OURS: Texts = [
    ("Ішкі қате", "Қате біздің тарапымыздан шықты. Қолдау қызметіне төмендегі нөмірді айтыңыз."),
    ("Внутренняя ошибка", "Ошибка на нашей стороне. Сообщите службе поддержки номер, указанный ниже."),
    ("An internal error", "The fault is ours. Please give the number below to support."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_reload_does_not_say_so() {
        for reason in [Reason::HeadTimeout, Reason::MethodNotAllowed, Reason::UnsupportedVersion] {
            for language in [Language::Kk, Language::Ru, Language::En] {
                assert_ne!(sentence(reason, language), sentence(Reason::Malformed, language), "{reason:?}");
            }
        }
    }
}
