//! What the demo site says, in every language.
//!
//! `{}` stands for a number. Never says what the gateway does not do. Bound: these constants.

use crate::pages::language::Language;

/// A tea on the shelf.
pub(super) struct Tea {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) price: &'static str,
}

/// Names of the kinds of cookies, for badges.
pub(super) struct Kinds {
    pub(super) session: &'static str,
    pub(super) settings: &'static str,
    pub(super) analytics: &'static str,
    pub(super) advertising: &'static str,
    pub(super) gateway: &'static str,
    pub(super) other: &'static str,
}

/// All texts of one language.
pub(super) struct Texts {
    pub(super) brand: &'static str,
    pub(super) languages: &'static str,
    pub(super) menu: &'static str,
    pub(super) home: &'static str,
    pub(super) shop: &'static str,
    pub(super) sign_in: &'static str,
    pub(super) account: &'static str,
    pub(super) register: &'static str,
    pub(super) received: &'static str,
    pub(super) footer: &'static str,
    pub(super) banner: &'static str,
    pub(super) choose: &'static str,
    pub(super) home_title: &'static str,
    pub(super) home_lead: &'static str,
    pub(super) home_cookies: &'static str,
    pub(super) home_cookies_text: &'static str,
    pub(super) home_try: &'static str,
    pub(super) home_steps: [&'static str; 4],
    pub(super) more: &'static str,
    pub(super) shop_title: &'static str,
    pub(super) teas: [Tea; 3],
    pub(super) add: &'static str,
    pub(super) basket: &'static str,
    pub(super) shop_script: &'static str,
    pub(super) shop_held: &'static str,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) sign_in_note: &'static str,
    pub(super) sign_in_wrong: &'static str,
    pub(super) account_text: &'static str,
    pub(super) sign_out: &'static str,
    pub(super) register_text: &'static str,
    pub(super) registered: &'static str,
    pub(super) registered_text: &'static str,
    pub(super) received_title: &'static str,
    pub(super) received_lead: &'static str,
    pub(super) allowed: &'static str,
    pub(super) refused: &'static str,
    pub(super) no_gateway: &'static str,
    pub(super) cookies: &'static str,
    pub(super) no_cookies: &'static str,
    pub(super) kept_back: &'static str,
    pub(super) kept_back_text: &'static str,
    pub(super) headers: &'static str,
    pub(super) headers_text: &'static str,
    pub(super) no_headers: &'static str,
    pub(super) change: &'static str,
    pub(super) again: &'static str,
    pub(super) as_json: &'static str,
    pub(super) kinds: Kinds,
    pub(super) clock: &'static str,
    pub(super) clock_text: &'static str,
    pub(super) upload: &'static str,
    pub(super) upload_text: &'static str,
    pub(super) file: &'static str,
    pub(super) send: &'static str,
    pub(super) upload_done: &'static str,
    pub(super) download: &'static str,
    pub(super) not_found: &'static str,
    pub(super) failed: &'static str,
    pub(super) failed_text: &'static str,
}

/// The texts of a language.
pub(super) const fn texts(language: Language) -> &'static Texts {
    match language {
        Language::Kk => &KK,
        Language::Ru => &RU,
        Language::En => &EN,
    }
}

const EN: Texts = Texts {
    brand: "The tea shop",
    languages: "Language",
    menu: "Pages",
    home: "Home",
    shop: "Shop",
    sign_in: "Sign in",
    account: "Account",
    register: "Register",
    received: "What the site received",
    footer: "Demo site: everything here runs on this computer.",
    banner: "Advertising cookies do not reach this site until you allow them.",
    choose: "Choose",
    home_title: "Tea for a long evening",
    home_lead: "A small shop that behaves like many others: it signs people in, counts visits, and would like to \
                advertise. The Kelisim gateway stands in front of it.",
    home_cookies: "This page sets cookies",
    home_cookies_text: "With every answer it sends one cookie for statistics and five for advertising. Until you \
                        consent, the gateway removes the advertising ones from the answer, and from your requests if \
                        your browser has them already.",
    home_try: "Try it",
    home_steps: [
        "Look at the shop: a script in that page sets more cookies.",
        "Sign in: the session works whatever you choose.",
        "See what the site received.",
        "Change your choice and look again.",
    ],
    more: "Also here",
    shop_title: "Our teas",
    teas: [
        Tea {
            name: "Black, with milk",
            text: "Strong enough for milk, as it is drunk here.",
            price: "1 990 ₸",
        },
        Tea { name: "Green", text: "Light, for the middle of the day.", price: "2 450 ₸" },
        Tea { name: "Mountain herbs", text: "Thyme, oregano and rose hip. No caffeine.", price: "1 750 ₸" },
    ],
    add: "Add to basket",
    basket: "In your basket: {}",
    shop_script: "A script in this page sets four cookies, as trackers do: _fbc, _ttp and adrcid for advertising, \
                  _ym_uid for statistics. No gateway can stop a script in a page. But without consent the advertising \
                  cookies are taken out of your next request, and your browser is told to forget them.",
    shop_held: "Cookies that scripts in this page can see now:",
    name: "Name",
    email: "E-mail address",
    sign_in_note: "Any name will do. The site sets a session cookie and keeps nothing else.",
    sign_in_wrong: "Please enter a name.",
    account_text: "You are signed in. Your session cookie passes through the gateway unchanged, whatever you choose \
                   about advertising.",
    sign_out: "Sign out",
    register_text: "You can see this form because you accepted the privacy policy in force. Whoever has not is sent to \
                    the consent page first.",
    registered: "Registered",
    registered_text: "The shop has kept nothing, as this is a demo. The gateway never records what is written in \
                      forms.",
    received_title: "What the site received",
    received_lead: "Your request for this very page, as it arrived behind the gateway.",
    allowed: "Advertising is allowed: the gateway lets advertising cookies through.",
    refused: "Advertising is not allowed: the gateway takes out every cookie that it knows to serve advertising.",
    no_gateway: "This request did not come through the gateway: the site sees everything that the browser sends.",
    cookies: "Cookies",
    no_cookies: "The site received no cookie.",
    kept_back: "Held by your browser, not received by the site",
    kept_back_text: "The gateway kept these back, or a script has set them since. It tells the browser to forget each \
                     of them at most once a day.",
    headers: "What the gateway added",
    headers_text: "The gateway sets or removes these headers on every request, whatever the browser sent.",
    no_headers: "None of them.",
    change: "Change your choice",
    again: "Look again",
    as_json: "The same as JSON",
    kinds: Kinds {
        session: "session",
        settings: "settings",
        analytics: "statistics",
        advertising: "advertising",
        gateway: "gateway",
        other: "other",
    },
    clock: "A clock",
    clock_text: "The site sends the time once a second as server-sent events. The gateway passes each one on at once.",
    upload: "Upload",
    upload_text: "The site counts the bytes that arrive and computes their SHA-256. It keeps nothing.",
    file: "File",
    send: "Send",
    upload_done: "Received",
    download: "Download 10 MiB",
    not_found: "There is no such page",
    failed: "This did not work",
    failed_text: "Please go back and try again.",
};

const RU: Texts = Texts {
    brand: "Чайная лавка",
    languages: "Язык",
    menu: "Страницы",
    home: "Главная",
    shop: "Магазин",
    sign_in: "Войти",
    account: "Кабинет",
    register: "Регистрация",
    received: "Что получил сайт",
    footer: "Демонстрационный сайт: всё здесь работает на этом компьютере.",
    banner: "Рекламные файлы cookie не попадут на этот сайт, пока вы их не разрешите.",
    choose: "Выбрать",
    home_title: "Чай для долгого вечера",
    home_lead: "Небольшой магазин, похожий на многие другие: в него можно войти, он считает посещения и хотел бы \
                показывать рекламу. Перед ним стоит шлюз Kelisim.",
    home_cookies: "Эта страница устанавливает файлы cookie",
    home_cookies_text: "С каждым ответом она отправляет один файл cookie для статистики и пять для рекламы. Пока вы не \
                        дали согласия, шлюз удаляет рекламные из ответа, а если они уже есть в браузере — и из ваших \
                        запросов.",
    home_try: "Попробуйте",
    home_steps: [
        "Загляните в магазин: скрипт на этой странице установит ещё несколько файлов cookie.",
        "Войдите: вход работает при любом вашем выборе.",
        "Посмотрите, что получил сайт.",
        "Измените свой выбор и посмотрите снова.",
    ],
    more: "Ещё здесь есть",
    shop_title: "Наш чай",
    teas: [
        Tea {
            name: "Чёрный, с молоком",
            text: "Крепкий, чтобы пить с молоком, как здесь принято.",
            price: "1 990 ₸",
        },
        Tea {
            name: "Зелёный", text: "Лёгкий, для середины дня.", price: "2 450 ₸"
        },
        Tea {
            name: "Горные травы", text: "Чабрец, душица и шиповник. Без кофеина.", price: "1 750 ₸"
        },
    ],
    add: "В корзину",
    basket: "В корзине: {}",
    shop_script: "Скрипт на этой странице устанавливает четыре файла cookie, как это делают трекеры: _fbc, _ttp и adrcid \
                  для рекламы, _ym_uid для статистики. Остановить скрипт на странице шлюз не может. Но без согласия \
                  рекламные файлы cookie удаляются из следующего запроса, а браузер получает указание их забыть.",
    shop_held: "Файлы cookie, которые сейчас видны скриптам на этой странице:",
    name: "Имя",
    email: "Адрес электронной почты",
    sign_in_note: "Подойдёт любое имя. Сайт установит файл cookie сеанса и больше ничего не сохранит.",
    sign_in_wrong: "Укажите имя.",
    account_text: "Вы вошли. Файл cookie сеанса проходит через шлюз без изменений, что бы вы ни выбрали о рекламе.",
    sign_out: "Выйти",
    register_text: "Вы видите эту форму, потому что приняли действующую политику конфиденциальности. Кто её не принял, \
                    сначала попадает на страницу выбора.",
    registered: "Вы зарегистрированы",
    registered_text: "Магазин ничего не сохранил: это демонстрация. А шлюз никогда не записывает то, что введено в \
                      формы.",
    received_title: "Что получил сайт",
    received_lead: "Ваш запрос этой самой страницы в том виде, в каком он пришёл после шлюза.",
    allowed: "Реклама разрешена: шлюз пропускает рекламные файлы cookie.",
    refused: "Реклама не разрешена: шлюз удаляет все файлы cookie, известные ему как рекламные.",
    no_gateway: "Этот запрос пришёл в обход шлюза: сайт видит всё, что отправляет браузер.",
    cookies: "Файлы cookie",
    no_cookies: "Сайт не получил ни одного файла cookie.",
    kept_back: "Есть в вашем браузере, но не дошли до сайта",
    kept_back_text: "Их удержал шлюз, или скрипт установил их уже после запроса. Указание забыть каждый из них шлюз \
                     даёт браузеру не чаще раза в сутки.",
    headers: "Что добавил шлюз",
    headers_text: "Эти заголовки шлюз устанавливает или удаляет в каждом запросе, что бы ни прислал браузер.",
    no_headers: "Ни одного из них.",
    change: "Изменить выбор",
    again: "Посмотреть снова",
    as_json: "То же в формате JSON",
    kinds: Kinds {
        session: "сеанс",
        settings: "настройки",
        analytics: "статистика",
        advertising: "реклама",
        gateway: "шлюз",
        other: "прочее",
    },
    clock: "Часы",
    clock_text: "Раз в секунду сайт отправляет время событием (server-sent events). Шлюз сразу передаёт каждое событие \
                 дальше.",
    upload: "Отправка файла",
    upload_text: "Сайт считает полученные байты и вычисляет их SHA-256. Он ничего не сохраняет.",
    file: "Файл",
    send: "Отправить",
    upload_done: "Получено",
    download: "Скачать 10 МиБ",
    not_found: "Такой страницы нет",
    failed: "Не получилось",
    failed_text: "Вернитесь назад и попробуйте ещё раз.",
};

const KK: Texts = Texts {
    brand: "Шай дүкені",
    languages: "Тіл",
    menu: "Беттер",
    home: "Басты бет",
    shop: "Дүкен",
    sign_in: "Кіру",
    account: "Кабинет",
    register: "Тіркелу",
    received: "Сайт не алды",
    footer: "Демонстрациялық сайт: мұндағының бәрі осы компьютерде жұмыс істейді.",
    banner: "Сіз рұқсат бермейінше, жарнамалық cookie файлдары бұл сайтқа жетпейді.",
    choose: "Таңдау",
    home_title: "Ұзақ кешке арналған шай",
    home_lead: "Көптеген басқа дүкендерге ұқсас шағын дүкен: онда аккаунтқа кіруге болады, ол сайтқа кірулерді санайды \
                және жарнама көрсеткісі келеді. Оның алдында Kelisim шлюзі тұр.",
    home_cookies: "Бұл бет cookie файлдарын орнатады",
    home_cookies_text: "Әр жауабымен бірге ол статистикаға арналған бір, жарнамаға арналған бес cookie файлын жібереді. \
                        Сіз келісім бермейінше, шлюз жарнамалық файлдарды жауаптан, ал олар браузеріңізде бұрыннан \
                        болса, сұрауларыңыздан да алып тастайды.",
    home_try: "Байқап көріңіз",
    home_steps: [
        "Дүкенге кіріңіз: ол беттегі скрипт тағы бірнеше cookie файлын орнатады.",
        "Аккаунтқа кіріңіз: қандай таңдау жасасаңыз да, кіру жұмыс істейді.",
        "Сайт не алғанын қараңыз.",
        "Таңдауыңызды өзгертіп, қайта қараңыз.",
    ],
    more: "Мұнда тағы бар",
    shop_title: "Біздің шайлар",
    teas: [
        Tea {
            name: "Сүт қосылған қара шай",
            text: "Мұндағы дәстүр бойынша сүтпен ішетін қою шай.",
            price: "1 990 ₸",
        },
        Tea {
            name: "Көк шай", text: "Күннің ортасына арналған жеңіл шай.", price: "2 450 ₸"
        },
        Tea {
            name: "Тау шөптері", text: "Жебір, жұпаргүл және итмұрын. Кофеинсіз.", price: "1 750 ₸"
        },
    ],
    add: "Себетке салу",
    basket: "Себетте: {}",
    shop_script: "Бұл беттегі скрипт трекерлер сияқты төрт cookie файлын орнатады: жарнама үшін _fbc, _ttp және adrcid, \
                  статистика үшін _ym_uid. Шлюз беттегі скриптті тоқтата алмайды. Бірақ келісім болмаса, жарнамалық \
                  cookie файлдары келесі сұрауыңыздан алып тасталады, ал браузерге оларды ұмыту тапсырылады.",
    shop_held: "Осы беттегі скрипттерге қазір көрінетін cookie файлдары:",
    name: "Аты",
    email: "Электрондық пошта",
    sign_in_note: "Кез келген ат жарайды. Сайт сеанс cookie файлын орнатады, басқа ештеңе сақтамайды.",
    sign_in_wrong: "Атыңызды жазыңыз.",
    account_text: "Сіз кірдіңіз. Жарнама туралы не таңдасаңыз да, сеанс cookie файлы шлюзден өзгеріссіз өтеді.",
    sign_out: "Шығу",
    register_text: "Сіз бұл пішінді қолданыстағы құпиялылық саясатын қабылдағандықтан көріп тұрсыз. Оны қабылдамаған адам \
                    алдымен таңдау бетіне жіберіледі.",
    registered: "Сіз тіркелдіңіз",
    registered_text: "Дүкен ештеңе сақтаған жоқ: бұл — демонстрация. Ал шлюз пішіндерге жазылғанды ешқашан жазып \
                      алмайды.",
    received_title: "Сайт не алды",
    received_lead: "Дәл осы бетке жіберген сұрауыңыз, шлюзден өткеннен кейін сайтқа жеткен түрінде.",
    allowed: "Жарнамаға рұқсат берілген: шлюз жарнамалық cookie файлдарын өткізеді.",
    refused: "Жарнамаға рұқсат берілмеген: шлюз жарнамаға арналғаны өзіне белгілі барлық cookie файлын алып тастайды.",
    no_gateway: "Бұл сұрау шлюзді айналып келді: сайт браузер жіберетіннің бәрін көреді.",
    cookies: "Cookie файлдары",
    no_cookies: "Сайт бірде-бір cookie файлын алған жоқ.",
    kept_back: "Браузеріңізде бар, бірақ сайтқа жетпеді",
    kept_back_text: "Оларды шлюз ұстап қалды немесе скрипт сұраудан кейін орнатты. Шлюз браузерге олардың әрқайсысын \
                     ұмытуды тәулігіне бір реттен жиі тапсырмайды.",
    headers: "Шлюз не қосты",
    headers_text: "Браузер не жіберсе де, шлюз бұл тақырыптарды әр сұрауда орнатады немесе алып тастайды.",
    no_headers: "Олардың бірде-бірі жоқ.",
    change: "Таңдауды өзгерту",
    again: "Қайта қарау",
    as_json: "JSON түрінде",
    kinds: Kinds {
        session: "сеанс",
        settings: "баптаулар",
        analytics: "статистика",
        advertising: "жарнама",
        gateway: "шлюз",
        other: "басқа",
    },
    clock: "Сағат",
    clock_text: "Сайт секунд сайын уақытты оқиға (server-sent events) түрінде жібереді. Шлюз әр оқиғаны бірден өткізеді.",
    upload: "Файл жіберу",
    upload_text: "Сайт келген байттарды санап, олардың SHA-256 хешін есептейді. Ештеңе сақтамайды.",
    file: "Файл",
    send: "Жіберу",
    upload_done: "Алынды",
    download: "10 МиБ жүктеп алу",
    not_found: "Мұндай бет жоқ",
    failed: "Орындалмады",
    failed_text: "Артқа қайтып, қайталап көріңіз.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basket_has_one_place_for_its_number() {
        for language in Language::ALL {
            assert_eq!(texts(language).basket.matches("{}").count(), 1);
        }
    }

    #[test]
    fn the_languages_differ_and_kazakh_is_written_in_kazakh_letters() {
        let (kk, ru, en) = (texts(Language::Kk), texts(Language::Ru), texts(Language::En));
        assert!(kk.home_lead.contains('ғ') && kk.home_lead.contains('ұ'));
        assert!(ru.home_lead.contains('ы') && !ru.home_lead.contains('ғ'));
        assert!(en.home_lead.is_ascii());
    }
}
